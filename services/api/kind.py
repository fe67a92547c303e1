"""What a kind is: its names, where it is stored, what can be done with it, and its messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

from google.protobuf.message import Message

# The message of every custom kind.
CUSTOM_OBJECT: Final = "navarch.v1.CustomObject"
ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@cache
def load_message(contract: str, name: str) -> type[Message]:
    """The message class of that name in a contract such as "core.v1", imported when first asked for."""
    found: type[Message] = getattr(import_module(f"navarch.protos.k8s.{contract}_pb2"), name)
    return found


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of an object with its own path: what it holds and what may be done with it."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    # Where the kind belongs, if not to the group and version of the resource.
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object that the API serves."""

    group: str
    version: str
    kind: str
    # Plural, lower case: the name in paths.
    resource: str
    # Folder of the contract below protos/k8s, and its protobuf package.
    contract: str
    package: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    # Storage keys begin with this; empty for kinds that are never stored.
    key_prefix: str = ""
    # The apiVersion written to storage.
    stored_as: str = ""
    # "protobuf" (in an envelope) or "json".
    encoding: str = "protobuf"
    # What a CustomResourceDefinition says about a version of its kind; None for built-in kinds.
    custom: Any = None

    def __hash__(self) -> int:
        # Tables and caches are keyed by kinds on every request; the rest of the fields follows from these.
        return hash((self.group, self.version, self.kind))

    @property
    def is_custom(self) -> bool:
        """Whether a CustomResourceDefinition describes it."""
        return self.custom is not None

    @property
    def list_kind(self) -> str:
        """What JSON calls a list of them."""
        return self.custom.list_kind if self.is_custom else f"{self.kind}List"

    @property
    def api_version(self) -> str:
        """Group and version as JSON shows them: "apps/v1", "v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def gvk(self) -> tuple[str, str]:
        """(apiVersion, kind)."""
        return self.api_version, self.kind

    @property
    def singular(self) -> str:
        """The name for one object, lower case."""
        return self.custom.singular if self.is_custom else self.kind.lower()

    @property
    def qualified_resource(self) -> str:
        """The plural with its group: "deployments.apps", "pods"."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def full_name(self) -> str:
        """The protobuf name of the message."""
        return f"{self.package}.{self.kind}" if not self.is_custom else CUSTOM_OBJECT

    @property
    def message(self) -> type[Message]:
        """The message class of one object."""
        return load_message(self.contract, self.kind) if not self.is_custom else self.custom.message_of(self)

    @property
    def list_message(self) -> type[Message] | None:
        """The message class of a list of them, where there is one."""
        has_list = "list" in self.verbs and not self.is_custom
        return load_message(self.contract, f"{self.kind}List") if has_list else None

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, if the kind has it."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    def key(self, namespace: str, name: str) -> str:
        """The storage key of an object; with an empty name the prefix of its namespace."""
        return f"{self.key_prefix}{namespace}/{name}" if self.namespaced and namespace else self.key_prefix + name
