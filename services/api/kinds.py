"""The table of kinds: everything the rest of the system knows about a kind starts from its row here.

To add a kind is to add a row; REST paths, storage keys, discovery, the gRPC door, informers and the command
line follow. Messages are imported when first asked for, so a process pays for the groups it uses. Lookups
by message work on the protobuf full name, which needs no import at all.

Objects that are no resource but still have apiVersion and kind in JSON (lists, options, reviews) are found
through ``type_of`` and ``message_class``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.message import Message

from navarch.services.api.custom.message import CustomClass
from navarch.services.api.errors import UnknownKind
from navarch.services.api.kind import ALL_VERBS, CUSTOM_OBJECT, Kind, Subresource, load_message
from navarch.services.api.kind_rows import all_rows

__all__ = [
    "ALL_VERBS",
    "CUSTOM_OBJECT",
    "KINDS",
    "TYPE_URL_PREFIX",
    "Kind",
    "KindTable",
    "Subresource",
    "message_class",
    "named_types",
    "type_of",
    "type_url",
]

TYPE_URL_PREFIX: Final = "type.googleapis.com/"
_META: Final = "k8s.io.apimachinery.pkg.apis.meta.v1"


class KindTable:
    """All kinds, found by message, by apiVersion and kind, by path or by what a user types."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._fill(tuple(kinds))

    def replace_custom(self, kinds: Iterable[Kind]) -> None:
        """Put these in place of all custom kinds; a name that is taken already stays what it was."""
        own = [kind for kind in self._kinds if not kind.is_custom]
        taken = {(kind.group, kind.version, kind.resource) for kind in own} | {kind.gvk for kind in own}
        free = (one for one in kinds if not {(one.group, one.version, one.resource), one.gvk} & taken)
        self._fill((*own, *free))

    def _fill(self, kinds: tuple[Kind, ...]) -> None:
        self._kinds = kinds
        self._by_full_name = {kind.full_name: kind for kind in kinds if not kind.is_custom}
        self._by_gvk = {kind.gvk: kind for kind in kinds}
        self._by_resource = {(kind.group, kind.version, kind.resource): kind for kind in kinds}
        self._by_word: dict[str, Kind] = {}
        for kind in kinds:
            for word in (kind.resource, kind.singular, *kind.short_names):
                for name in (word, f"{word}.{kind.group}", f"{word}.{kind.version}.{kind.group}"):
                    self._by_word.setdefault(name, kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def of(self, target: Message | type[Message] | str) -> Kind:
        """The kind of a message, of its class, or of a protobuf full name or type URL. Raises UnknownKind.

        Of a custom kind: its class of messages, or a message.
        """
        asked: Any = target
        if isinstance(asked, CustomClass):
            return asked.kind
        if isinstance(target, Message) and target.DESCRIPTOR.full_name == CUSTOM_OBJECT:
            return self.by_gvk(asked.api_version, asked.kind)
        name = target.rpartition("/")[2] if isinstance(target, str) else target.DESCRIPTOR.full_name
        try:
            return self._by_full_name[name]
        except KeyError:
            raise UnknownKind(f"{name} is not a resource of the API") from None

    def by_gvk(self, api_version: str, kind: str) -> Kind:
        """The kind that JSON names. Raises UnknownKind."""
        try:
            return self._by_gvk[api_version, kind]
        except KeyError:
            raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"') from None

    def by_resource(self, group: str, version: str, resource: str) -> Kind:
        """The kind at a path. Raises UnknownKind."""
        try:
            return self._by_resource[group, version, resource]
        except KeyError:
            raise UnknownKind("the server could not find the requested resource") from None

    def find(self, word: str) -> Kind:
        """The kind a user means by "deploy", "deployments.apps", "deployment.v1.apps" or "Deployment"."""
        try:
            return self._by_word[word.lower()]
        except KeyError:
            raise UnknownKind(f'the server doesn\'t have a resource type "{word}"') from None

    def of_category(self, category: str) -> list[Kind]:
        """The kinds that a word such as "all" stands for."""
        return [kind for kind in self._kinds if category in kind.categories]


KINDS: Final = KindTable(list(all_rows()))

# What has apiVersion and kind in JSON beside resources and their lists: contract -> (apiVersion, kinds).
_LOOSE: Final = {
    "core.v1": (
        "v1",
        "List NodeProxyOptions PodAttachOptions PodExecOptions PodLogOptions PodPortForwardOptions PodProxyOptions"
        " PodStatusResult RangeAllocation SerializedReference ServiceProxyOptions",
    ),
    "meta.v1": (
        "v1",
        "APIGroup APIGroupList APIResourceList APIVersions ApplyOptions CreateOptions DeleteOptions GetOptions"
        " ListOptions PatchOptions Status TableOptions UpdateOptions",
    ),
    "admission.v1": ("admission.k8s.io/v1", "AdmissionReview"),
    "apidiscovery.v2": ("apidiscovery.k8s.io/v2", "APIGroupDiscovery APIGroupDiscoveryList"),
    "apiextensions.v1": ("apiextensions.k8s.io/v1", "ConversionReview"),
    "audit.v1": ("audit.k8s.io/v1", "Event EventList Policy PolicyList"),
    "authentication.v1": ("authentication.k8s.io/v1", "TokenRequest"),
    "autoscaling.v1": ("autoscaling/v1", "Scale"),
    "metrics.v1beta1": ("metrics.k8s.io/v1beta1", "NodeMetrics NodeMetricsList PodMetrics PodMetricsList"),
    "policy.v1": ("policy/v1", "Eviction"),
}
_PACKAGES: Final = {
    "meta.v1": _META,
    "apiextensions.v1": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1",
    "audit.v1": "k8s.io.apiserver.pkg.apis.audit.v1",
    "metrics.v1beta1": "k8s.io.metrics.pkg.apis.metrics.v1beta1",
}


def _types() -> Iterator[tuple[str, str, str, str]]:
    """(contract, package, apiVersion, kind) of everything that names itself in JSON."""
    for row in KINDS:
        yield row.contract, row.package, row.api_version, row.kind
        if "list" in row.verbs:
            yield row.contract, row.package, row.api_version, f"{row.kind}List"
    for contract, (api_version, names) in _LOOSE.items():
        package = _PACKAGES.get(contract, f"k8s.io.api.{contract}")
        for name in names.split():
            yield contract, package, api_version, name
    yield "meta.v1", _META, "meta.k8s.io/v1", "PartialObjectMetadata"
    yield "meta.v1", _META, "meta.k8s.io/v1", "PartialObjectMetadataList"


_TYPE_OF: Final = {f"{package}.{kind}": (api_version, kind) for _, package, api_version, kind in _types()}
_CONTRACT_OF: Final = {(api_version, kind): contract for contract, _, api_version, kind in _types()}
# Kept in an older version whose message is the same.
_CONTRACT_OF.update({(row.stored_as, row.kind): row.contract for row in KINDS if row.stored_as.endswith("beta1")})


def named_types() -> Iterator[tuple[str, str, type[Message]]]:
    """(apiVersion, kind, message class) of everything that names itself in JSON."""
    return ((api_version, kind, load_message(contract, kind)) for contract, _, api_version, kind in _types())


def type_of(full_name: str) -> tuple[str, str] | None:
    """(apiVersion, kind) that JSON shows for the message of a protobuf name; None where it shows none."""
    return _TYPE_OF.get(full_name)


def type_url(message: Message | type[Message]) -> str:
    """The type URL under which a message travels in google.protobuf.Any."""
    return TYPE_URL_PREFIX + message.DESCRIPTOR.full_name


def message_class(api_version: str, kind: str) -> type[Message]:
    """The message of whatever JSON or an envelope names, resource or not. Raises UnknownKind."""
    try:
        return load_message(_CONTRACT_OF[api_version, kind], kind)
    except KeyError:
        raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"') from None
