"""The garbage collector's loop: events of all kinds into the graph, `plan`, writes out.

Nothing is deleted on the word of a cache alone: an owner counts as gone when its deletion was seen, or when
the API, asked, does not have it under that uid. Each deletion carries uid and resource version of the object
as it was judged, so an object that gained an owner meanwhile is refused, and judged again.
"""

from functools import partial
from typing import Any

from google.protobuf.message import Message

from navarch.services.api import codec, errors
from navarch.services.api.kinds import Kind
from navarch.services.api.meta import metadata_of
from navarch.services.base.log import get_logger
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller
from navarch.services.client.requests import PatchType
from navarch.services.controller_manager import ownership
from navarch.services.controller_manager.garbage_collector.graph import Graph, Node, Owner
from navarch.services.controller_manager.garbage_collector.plan import (
    Action,
    Delete,
    DropOwners,
    RemoveFinalizer,
    Unblock,
    Verify,
    plan,
)
from navarch.services.controller_manager.kinds import stored_kinds

WORKERS = 10


class GarbageCollector:
    """Reconciles objects of all kinds by uid."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("garbage-collector", self.reconcile, WORKERS, context.clock)
        self.graph = Graph()
        self._client = context.client
        self._log = get_logger("garbage-collector")
        for kind in stored_kinds():
            context.informers.of(kind.message).on_event(partial(self._on_event, kind))
        self._informers = context.informers
        self._kinds = context.kinds
        self._kinds.on_kind(self._on_kind)

    async def reconcile(self, uid: str) -> None:
        """Do what is due for one object."""
        while actions := plan(self.graph, uid):
            try:
                for action in actions:
                    await self._carry_out(action)
            except errors.UnknownKind as failure:
                # An owner of a kind that cannot be asked about keeps its dependents.
                self._log.warning("owner.unknown_kind", uid=uid, error=failure)
                return
            if not isinstance(actions[0], Verify):
                return

    async def _carry_out(self, action: Action) -> None:
        match action:
            case Verify(node, owner):
                await self._verify(node, owner)
            case Delete(node, policy):
                await self._delete(node, policy)
            case DropOwners(node, owners):
                await self._drop_owners(node, owners)
            case Unblock(node):
                await self._unblock(node)
            case RemoveFinalizer(node, finalizer):
                rest = [each for each in node.finalizers if each != finalizer]
                # The version guards the list, which is replaced whole.
                change = {"uid": node.uid, "resourceVersion": node.resource_version, "finalizers": rest}
                await self._patch(node, {"metadata": change}, "merge")

    async def _verify(self, node: Node, owner: Owner) -> None:
        """Ask the API about an owner. Raises UnknownKind for kinds that cannot be asked about."""
        kind = self._kinds.table.by_gvk(owner.api_version, owner.kind)
        namespace = node.namespace if kind.namespaced else ""
        try:
            found = await self._client.get(kind.message, owner.name, namespace)
        except errors.NotFound as failure:
            if failure.details.name != owner.name:
                raise
            found = None
        if found is not None and metadata_of(found).uid == owner.uid:
            self.graph.confirm(Node.of(kind, found))
        else:
            self.graph.deny(owner, node.namespace)

    async def _delete(self, node: Node, policy: str) -> None:
        self._log.debug("object.deleted", resource=node.kind.resource, name=node.name, policy=policy)
        try:
            await self._client.delete(
                node.kind.message,
                node.name,
                node.namespace,
                propagation_policy=policy,
                uid=node.uid,
                resource_version=node.resource_version,
            )
        except errors.NotFound:
            self._wake(self.graph.forget(node.uid))

    async def _drop_owners(self, node: Node, owners: tuple[str, ...]) -> None:
        if not node.kind.is_custom:
            await self._patch(node, ownership.release(owners, node.uid), "strategic")
            return
        references = await self._references(node)
        await self._put_references(node, [one for one in references if one["uid"] not in owners])

    async def _unblock(self, node: Node) -> None:
        if not node.kind.is_custom:
            blocked = [{"uid": owner.uid, "blockOwnerDeletion": False} for owner in node.owners]
            await self._patch(node, {"metadata": {"uid": node.uid, "ownerReferences": blocked}}, "strategic")
            return
        references = await self._references(node)
        await self._put_references(node, [{**one, "blockOwnerDeletion": False} for one in references])

    async def _references(self, node: Node) -> list[dict[str, Any]]:
        """All that a custom object says of its owners: patches replace the list as a whole."""
        try:
            found = await self._client.get(node.kind.message, node.name, node.namespace)
        except errors.NotFound:
            return []
        return [codec.to_json(one) for one in metadata_of(found).owner_references]

    async def _put_references(self, node: Node, references: list[dict[str, Any]]) -> None:
        change = {"uid": node.uid, "resourceVersion": node.resource_version, "ownerReferences": references}
        await self._patch(node, {"metadata": change}, "merge")

    async def _patch(self, node: Node, patch: dict[str, object], kind_of_patch: PatchType) -> None:
        try:
            await self._client.patch(node.kind.message, node.name, node.namespace, patch, kind_of_patch)
        except errors.NotFound:
            self._wake(self.graph.forget(node.uid))

    def _on_kind(self, kind: Kind, is_served: bool) -> None:
        if is_served:
            self._informers.of(kind.message).on_event(partial(self._on_event, kind))
        elif (informer := self._informers.drop(kind.message)) is not None:
            # Its objects are gone, though nobody may have been there to say so.
            for obj in informer.list():
                self._on_event(kind, obj, None)

    def _on_event(self, kind: Kind, old: Message | None, new: Message | None) -> None:
        if new is not None:
            self._wake(self.graph.observe(Node.of(kind, new)))
        elif old is not None:
            self._wake(self.graph.forget(metadata_of(old).uid))

    def _wake(self, uids: list[str]) -> None:
        for uid in uids:
            self.controller.queue.add(uid)
