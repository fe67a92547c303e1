"""One line on each kind and field, in our own words: what `kubectl explain` shows.

The texts stand in the modules beside this one. An unindented line is a message, the indented ones below it are its
members, by their names in JSON:

    core.v1.EnvVar: A variable in the environment of a container.
      value: The value; $(NAME) is replaced by a variable defined before it.

Members that mean the same everywhere ("metadata", "fsType", those of conditions) are told once, in `anywhere`, for
all messages that do not say more. Kinds that nobody writes by hand may be without text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Final

_MODULES: Final = (
    "access",
    "cluster",
    "containers",
    "extension",
    "legacy",
    "machinery",
    "network",
    "options",
    "pods",
    "scaling",
    "storage",
    "volumes",
    "workloads",
)
_PACKAGES: Final = {
    "meta.v1": "k8s.io.apimachinery.pkg.apis.meta.v1",
    "apiextensions.v1": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1",
    "apiregistration.v1": "k8s.io.kube_aggregator.pkg.apis.apiregistration.v1",
    "resource": "k8s.io.apimachinery.pkg.api.resource",
    "intstr": "k8s.io.apimachinery.pkg.util.intstr",
    "runtime": "k8s.io.apimachinery.pkg.runtime",
}
API_VERSION: Final = "The group and version whose schema this object follows, such as apps/v1."
KIND: Final = "What this object is, such as Deployment."
METADATA: Final = "Name, namespace, labels and what else all objects have."
LIST_METADATA: Final = "The revision of the list, and where it goes on."
ITEMS: Final = "The objects."
PATCH: Final = "A change to an object, in one of the patch formats; its media type says in which."


def of_message(full_name: str) -> str:
    """The text on a message, by its protobuf name; "" without one."""
    found = texts().get((full_name, ""), "")
    if not found and full_name.endswith("List"):
        return f"A list of objects of kind {full_name.rpartition('.')[2].removesuffix('List')}."
    return found


def of_field(full_name: str, field: str) -> str:
    """The text on a member of a message, by the member's name in JSON; "" without one."""
    if field == "metadata" and full_name.endswith("List"):
        return LIST_METADATA
    return texts().get((full_name, field)) or _anywhere().get(field, "")


@cache
def texts() -> Mapping[tuple[str, str], str]:
    """All texts by (message, member); the member is "" for the message itself."""
    found: dict[tuple[str, str], str] = {}
    for name in _MODULES:
        found.update(_parsed(import_module(f"{__name__}.{name}").TEXT))
    return found


@cache
def _anywhere() -> Mapping[str, str]:
    text: str = import_module(f"{__name__}.anywhere").TEXT
    return dict(_split(line) for line in text.strip().splitlines())


def _parsed(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    message = ""
    for line in filter(None, text.splitlines()):
        name, words = _split(line)
        if line.startswith(" "):
            yield (message, name), words
        else:
            message = _full_name(name)
            yield (message, ""), words


def _split(line: str) -> tuple[str, str]:
    name, _, words = line.strip().partition(": ")
    return name.rstrip(":"), words


def _full_name(name: str) -> str:
    contract, _, message = name.rpartition(".")
    return f"{_PACKAGES.get(contract, f'k8s.io.api.{contract}')}.{message}"
