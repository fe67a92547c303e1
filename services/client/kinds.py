"""The kinds that a cluster serves: those of the build, and those of its CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api.custom.versions import custom_kinds, is_established
from navarch.services.api.kinds import KINDS, Kind, KindTable
from navarch.services.client.client import Client
from navarch.services.client.informer import Informers

Definition = apiextensionsv1.CustomResourceDefinition
# A kind, and whether it has come (else it is gone).
Handler = Callable[[Kind, bool], None]


async def list_kinds(client: Client) -> KindTable:
    """All kinds that the cluster serves now."""
    table = KindTable(KINDS)
    definitions = (await client.list(Definition)).items
    table.replace_custom(kind for one in definitions if is_established(one) for kind in custom_kinds(one))
    return table


class FollowedKinds:
    """A table of kinds that follows the definitions of a cluster."""

    def __init__(self, informers: Informers) -> None:
        self.table = KindTable(KINDS)
        self._served: dict[str, tuple[bytes, list[Kind]]] = {}
        self._handlers: list[Handler] = []
        informers.of(Definition).on_event(self._on_definition)

    def on_kind(self, handler: Handler) -> None:
        """Have a handler called for one version of each custom kind, now and as they come and go."""
        self._handlers.append(handler)
        for _, kinds in self._served.values():
            handler(kinds[0], True)

    def _on_definition(self, old: Any, new: Any) -> None:
        name = (new or old).metadata.name
        identity = b"" if new is None or not is_established(new) else _identity(new)
        known = self._served.get(name)
        if identity == (known[0] if known else b""):
            return
        if known is not None:
            del self._served[name]
        kinds = custom_kinds(new) if identity else []
        if kinds:
            self._served[name] = (identity, kinds)
        self.table.replace_custom(kind for _, served in self._served.values() for kind in served)
        for handler in self._handlers:
            if known is not None:
                handler(known[1][0], False)
            if kinds:
                handler(kinds[0], True)


def _identity(crd: Any) -> bytes:
    """What tells kinds apart here: which definition, names and versions, not their schemas."""
    versions = ",".join(one.name for one in crd.spec.versions if one.served)
    names: bytes = crd.status.accepted_names.SerializeToString(deterministic=True)
    return f"{crd.metadata.uid} {crd.spec.scope} {versions} ".encode() + names
