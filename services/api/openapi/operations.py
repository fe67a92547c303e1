"""What can be done with a kind over HTTP: each path with its methods, as both versions of documents describe them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from navarch.services.api.kinds import Kind, Subresource, message_class
from navarch.services.api.openapi import names, parameters
from navarch.services.api.openapi.parameters import Parameter

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_WATCHES: Final = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_METHOD_OF: Final = {"create": "post", "delete": "delete", "get": "get", "patch": "patch", "update": "put"}
_WORD_OF: Final = {"create": "create", "delete": "delete", "get": "read", "patch": "patch", "update": "replace"}
_SUMMARY_OF: Final = {
    "create": "create a {0}",
    "delete": "delete a {0}",
    "get": "read the {0}",
    "patch": "change parts of the {0}",
    "update": "replace the {0}",
}


# What codes are called in documents.
PHRASES: Final = {200: "OK", 201: "Created", 202: "Accepted"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    action: what it does, as audit and policies call it. gvk: the kind it is about. body: the name of a schema, "" for
    none; answer: the same, or "string". codes: of success.
    """

    path: str
    method: str
    action: str
    id: str
    summary: str
    gvk: tuple[str, str, str]
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    answer: str = "string"
    codes: tuple[int, ...] = (200,)
    consumes: tuple[str, ...] = ("*/*",)
    produces: tuple[str, ...] = ("*/*",)
    is_deprecated: bool = False

    @property
    def needs_body(self) -> bool:
        """Whether the body has to be there."""
        return bool(self.body) and self.action not in ("delete", "deletecollection")

    def of_path(self) -> list[Parameter]:
        """Parameters that hold for all methods of the path."""
        return [one for one in self.parameters if one.place == "path"]

    def own(self) -> list[Parameter]:
        """Parameters of this method."""
        return [one for one in self.parameters if one.place != "path"]


def tag(kind: Kind) -> str:
    """The tag of a kind's operations: "core_v1", "rbacAuthorization_v1"."""
    words = _group_words(kind)
    return f"{words[0].lower()}{''.join(words[1:])}_{kind.version}"


def _group_words(kind: Kind) -> list[str]:
    name = kind.group.removesuffix(".k8s.io") or "core"
    return [word[:1].upper() + word[1:] for word in name.split(".")]


def base(kind: Kind) -> str:
    """The path below which a kind's group and version are."""
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"


def of_kind(kind: Kind) -> Iterator[Operation]:
    """All operations on a kind, its parts included."""
    yield from _Operations(kind).all()


class _Operations:
    """Writes the operations of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._where = "".join(_group_words(kind)) + kind.version.title()
        self._scope = "Namespaced" if kind.namespaced else ""
        self._base = base(kind)
        self._gvk = kind.group, kind.version, kind.kind
        place = f"/namespaces/{{namespace}}/{kind.resource}" if kind.namespaced else f"/{kind.resource}"
        self._collection, self._one = f"{self._base}{place}", f"{self._base}{place}/{{name}}"
        self._place = (parameters.NAMESPACE,) if kind.namespaced else ()
        self._name = (parameters.named(kind.kind),)
        self._produces: tuple[str, ...] = (JSON, YAML) if kind.is_custom else (JSON, PROTOBUF, YAML)

    def all(self) -> Iterator[Operation]:
        verbs = set(self._kind.verbs)
        for verb in ("list", "create", "deletecollection"):
            if verb in verbs:
                yield self._of_collection(verb)
        for verb in ("get", "update", "patch", "delete"):
            if verb in verbs:
                yield self._of_one(verb)
        for part in self._kind.subresources:
            yield from self._of_part(part)
        if "list" in verbs and self._kind.namespaced:
            yield self._list(f"{self._base}/{self._kind.resource}", f"{self._kind.kind}ForAllNamespaces", ())
        if "watch" in verbs:
            yield from self._watches()

    def _list(self, path: str, name: str, place: tuple[Parameter, ...]) -> Operation:
        return Operation(
            path,
            "get",
            "list",
            f"list{self._where}{name}",
            f"list or watch objects of kind {self._kind.kind}",
            self._gvk,
            (*place, *parameters.LIST),
            answer=names.of_list(self._kind),
            produces=(*self._produces, *(_WATCHES[:1] if self._kind.is_custom else _WATCHES)),
        )

    def _of_collection(self, verb: str) -> Operation:
        kind = self._kind
        if verb == "list":
            return self._list(self._collection, self._scope + kind.kind, self._place)
        if verb == "create":
            return self._write(verb, self._collection, f"create{self._where}{self._scope}{kind.kind}", self._place)
        return Operation(
            self._collection,
            "delete",
            "deletecollection",
            f"delete{self._where}Collection{self._scope}{kind.kind}",
            f"delete the objects of kind {kind.kind} that are selected",
            self._gvk,
            (*self._place, *parameters.DELETE_COLLECTION),
            body=names.DELETE_OPTIONS,
            answer=names.STATUS,
            consumes=self._produces,
            produces=self._produces,
        )

    def _of_one(self, verb: str) -> Operation:
        kind, place = self._kind, (*self._name, *self._place)
        id = f"{_WORD_OF[verb]}{self._where}{self._scope}{kind.kind}"
        if verb == "delete":
            return Operation(
                self._one,
                "delete",
                "delete",
                id,
                _SUMMARY_OF[verb].format(kind.kind),
                self._gvk,
                (*place, *parameters.DELETE),
                body=names.DELETE_OPTIONS,
                answer=names.STATUS,
                codes=(200, 202),
                consumes=self._produces,
                produces=self._produces,
            )
        return self._write(verb, self._one, id, place)

    def _write(
        self,
        verb: str,
        path: str,
        id: str,
        place: tuple[Parameter, ...],
        *,
        schema: str = "",
        gvk: tuple[str, str, str] | None = None,
        part: str = "",
    ) -> Operation:
        """Get, create, update or patch: what comes back is the object."""
        about = f"{part} of the {self._kind.kind}" if part else self._kind.kind
        schema = schema or names.of_kind(self._kind)
        options = {"create": parameters.WRITE, "update": parameters.WRITE, "patch": parameters.PATCH}.get(verb, ())
        patches = tuple(media for media in _PATCHES if not (self._kind.is_custom and "strategic" in media))
        return Operation(
            path,
            _METHOD_OF[verb],
            _METHOD_OF[verb],
            id,
            _SUMMARY_OF[verb].format(about),
            gvk or self._gvk,
            (*place, parameters.PRETTY, *options),
            body={"get": "", "patch": names.PATCH}.get(verb, schema),
            answer=schema,
            codes={"create": (200, 201, 202), "update": (200, 201), "patch": (200, 201)}.get(verb, (200,)),
            consumes=patches if verb == "patch" else self._produces,
            produces=self._produces,
        )

    def _of_part(self, part: Subresource) -> Iterator[Operation]:
        kind, path = self._kind, f"{self._one}/{part.name}"
        title = part.name[:1].upper() + part.name[1:]
        name = f"{self._scope}{kind.kind}{title}"
        if part.kind.endswith("Options"):
            yield from self._connects(part, path, name)
            return
        group, _, version = (part.api_version or kind.api_version).rpartition("/")
        gvk = group, version, part.kind
        for verb in part.verbs:
            id, place = f"{_WORD_OF[verb]}{self._where}{name}", (*self._name, *self._place)
            if part.name == "log":
                yield self._log(path, id, place)
                continue
            schema = names.of_kind(kind) if kind.kind == part.kind else _schema_of(part, kind)
            yield self._write(verb, path, id, place, schema=schema, gvk=gvk, part=part.name)

    def _log(self, path: str, id: str, place: tuple[Parameter, ...]) -> Operation:
        options = parameters.of_options(message_class("v1", "PodLogOptions").DESCRIPTOR)
        produces = ("text/plain", *self._produces)
        text = "read the log of the Pod"
        return Operation(path, "get", "get", id, text, self._gvk, (*place, *options), produces=produces)

    def _connects(self, part: Subresource, path: str, name: str) -> Iterator[Operation]:
        options = parameters.of_options(message_class("v1", part.kind).DESCRIPTOR)
        gvk = "", "v1", part.kind
        paths: list[tuple[str, str, tuple[Parameter, ...]]] = [(path, name, ())]
        if part.name == "proxy":
            paths.append((f"{path}/{{path}}", f"{name}WithPath", (parameters.TAIL,)))
        for where, title, more in paths:
            for verb in part.verbs:
                method = _METHOD_OF[verb]
                id = f"connect{self._where}{method.title()}{title}"
                summary = f"connect {method.upper()} requests to {part.name} of the {self._kind.kind}"
                place = (*self._name, *self._place, *more)
                yield Operation(where, method, "connect", id, summary, gvk, (*place, *options))

    def _watches(self) -> Iterator[Operation]:
        kind, end = self._kind, self._collection.removeprefix(self._base)
        many = f"{kind.kind}List"
        wanted: list[tuple[str, str, str, tuple[Any, ...]]] = [
            (end, self._scope + many, "watchlist", self._place),
            (f"{end}/{{name}}", self._scope + kind.kind, "watch", (*self._name, *self._place)),
        ]
        if kind.namespaced:
            wanted.append((f"/{kind.resource}", f"{many}ForAllNamespaces", "watchlist", ()))
        for path, name, action, place in wanted:
            yield Operation(
                f"{self._base}/watch{path}",
                "get",
                action,
                f"watch{self._where}{name}",
                "watch changes; the older way: a list with the parameter 'watch' does the same",
                self._gvk,
                (*place, *parameters.LIST),
                answer=names.WATCH_EVENT,
                produces=(*self._produces, *_WATCHES),
                is_deprecated=True,
            )


def _schema_of(part: Subresource, kind: Kind) -> str:
    return names.of_message(message_class(part.api_version or kind.api_version, part.kind).DESCRIPTOR.full_name)
