"""The parameters of operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from navarch.services.api.openapi import docs, schemas


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. place: "path" or "query"; type: "string", "integer" or "boolean"."""

    name: str
    description: str
    type: str = "string"
    place: str = "query"

    @property
    def is_required(self) -> bool:
        """Whether it has to be given."""
        return self.place == "path"


def named(kind: str) -> Parameter:
    """The name in a path."""
    return Parameter("name", f"Name of the {kind}.", place="path")


NAMESPACE: Final = Parameter("namespace", "Namespace that the object is in.", place="path")
TAIL: Final = Parameter("path", "What is asked of the other end: the rest of the URL's path.", place="path")
PRETTY: Final = Parameter("pretty", "'true' gives the answer in indented lines, for people.")
_DRY_RUN: Final = Parameter("dryRun", "'All' goes through every step except the last: nothing is stored.")
_MANAGER: Final = Parameter(
    "fieldManager", "Who makes the change, as managed fields shall name him: at most 128 printable characters."
)
_VALIDATION: Final = Parameter(
    "fieldValidation", "What unknown and repeated fields lead to: 'Ignore', 'Warn' (the default) or 'Strict'."
)
_FORCE: Final = Parameter(
    "force", "Apply patches only: take over the fields that others own, instead of a conflict.", "boolean"
)
WRITE: Final = (_DRY_RUN, _MANAGER, _VALIDATION)
PATCH: Final = (*WRITE, _FORCE)
_SELECT: Final = (
    Parameter("continue", "Where the list goes on: the token that the page before has ended with."),
    Parameter("fieldSelector", "Only objects with these field values, such as 'metadata.name=web'."),
    Parameter("labelSelector", "Only objects with labels like these, such as 'app=web,tier!=test'."),
    Parameter("limit", "At most so many objects; what is left can be had with 'continue'.", "integer"),
    Parameter("resourceVersion", "The revision that the answer shall be from, or shall at least have reached."),
    Parameter("resourceVersionMatch", "How 'resourceVersion' is meant: 'Exact' or 'NotOlderThan'."),
    Parameter("sendInitialEvents", "Begin a watch with what there is, then send a bookmark.", "boolean"),
    Parameter("timeoutSeconds", "How long a list may take, or how long a watch lasts.", "integer"),
)
LIST: Final = (
    PRETTY,
    Parameter("allowWatchBookmarks", "Have the watch tell from time to time which revision it has reached.", "boolean"),
    *_SELECT,
    Parameter("watch", "Stay, and send every change as it happens.", "boolean"),
)
_DELETION: Final = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "How long the object may take to stop; 0 deletes at once.", "integer"),
    Parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "Delete an object although what is stored of it cannot be read.",
        "boolean",
    ),
    Parameter("orphanDependents", "Deprecated: see 'propagationPolicy'.", "boolean"),
    Parameter("propagationPolicy", "What happens to dependents: 'Orphan', 'Background' or 'Foreground'."),
)
DELETE: Final = (PRETTY, *_DELETION)
DELETE_COLLECTION: Final = (PRETTY, *_DELETION, *_SELECT)


def of_options(descriptor: Any) -> tuple[Parameter, ...]:
    """The members of an options message, which connections take as query parameters."""
    found = []
    for field in descriptor.fields:
        if field.json_name == "stream" and descriptor.name == "PodLogOptions":
            text = "Which stream: 'All', 'Stdout' or 'Stderr'."
        else:
            text = docs.of_field(descriptor.full_name, field.json_name)
        schema = schemas.member(field)
        found.append(Parameter(field.json_name, text, schema.get("items", schema).get("type", "string")))
    return tuple(sorted(found, key=lambda parameter: parameter.name))
