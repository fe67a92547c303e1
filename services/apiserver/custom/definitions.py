"""What becomes of definitions: their names are settled, and before they go, their objects do."""

import asyncio
from typing import Any

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import meta
from navarch.services.api.custom.names import CLEANUP_FINALIZER, is_true, put_condition, settle_names
from navarch.services.api.equality import same
from navarch.services.api.errors import ApiError, Conflict, NotFound
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.custom.kinds import CRD, CustomKinds
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.delete import delete_object
from navarch.services.apiserver.registry.lifecycle import is_over
from navarch.services.apiserver.registry.modify import Keep, Order, Remove, Write, modify
from navarch.services.apiserver.storage.etcd import Compacted
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.definitions")
RETRY_S = 0.5
# Who the server is when it deletes the objects of a definition.
SERVER = User("system:apiserver", frozenset({"system:masters"}))


class DefinitionController:
    """Brings every definition to where it belongs, again and again."""

    def __init__(self, core: Core) -> None:
        self.kinds = CustomKinds(core.kinds, core.cachers, self.wake)
        self._core = core
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Something about the definitions changed."""
        self._changed.set()

    async def run(self) -> None:
        """Forever; after `kinds.start`."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            done = [await self._settle(crd.metadata.name) for crd in self.kinds.definitions]
            if not all(done):
                await self._core.clock.sleep(RETRY_S)
                self._changed.set()

    async def _settle(self, name: str) -> bool:
        """Do what is due for one definition; False where it has to be looked at again without an event."""
        crd = next((one for one in self.kinds.definitions if one.metadata.name == name), None)
        if crd is None:
            return True
        try:
            if meta.is_being_deleted(crd):
                return CLEANUP_FINALIZER not in crd.metadata.finalizers or await self._clean(crd)
            if self._with_names(crd) is not None:
                await self._change(name, self._with_names)
        except NotFound:
            return True
        except (ApiError, Compacted) as failure:
            LOG.warning("definition.failed", name=name, error=str(failure))
            return False
        return True

    def _with_names(self, crd: Any) -> Any:
        """The definition with its names settled; None where that changes nothing."""
        new = type(crd)()
        new.CopyFrom(crd)
        settle_names(new, self.kinds.definitions, self._core.clock.now())
        return None if same(new, crd) or meta.is_being_deleted(crd) else new

    async def _change(self, name: str, change: Any) -> None:
        async def decide(current: StoredObject) -> Order:
            new = change(current.decode())
            if new is None:
                return Keep()
            return Remove() if is_over(new) else Write(new)

        await modify(self._core, Target(CRD, "", name), decide)

    async def _clean(self, crd: Any) -> bool:
        """Delete the objects of a definition, then let it go."""
        now, name, kinds = self._core.clock.now(), crd.metadata.name, self.kinds.kinds_of(crd.metadata.name)
        if kinds:
            await self._change(name, lambda one: _deleting(one, now))
            if await self._delete_all(kinds[0]):
                return False
        await self._change(name, lambda one: _released(one, now))
        return True

    async def _delete_all(self, kind: Kind) -> int:
        """Ask every object to go. Returns how many are still there."""
        objects, _ = await self._core.storage.read_all(kind)
        left = 0
        for stored in objects:
            target = Target(kind, stored.namespace, stored.name)
            try:
                modified = await delete_object(self._core, SERVER, target, metav1.DeleteOptions())
                left += not modified.removed
            except (NotFound, Conflict):
                left += 1
        return left


def _deleting(crd: Any, now: float) -> Any:
    if not meta.is_being_deleted(crd) or not is_true(crd, "Terminating"):
        return None
    before = meta.find_condition(crd.status.conditions, "Terminating")
    if before is not None and before.reason == "InstanceDeletionInProgress":
        return None
    message = "CustomResource deletion is in progress"
    put_condition(crd, "Terminating", "True", "InstanceDeletionInProgress", message, now)
    return crd


def _released(crd: Any, now: float) -> Any:
    if CLEANUP_FINALIZER not in crd.metadata.finalizers:
        return None
    put_condition(crd, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances", now)
    crd.metadata.finalizers.remove(CLEANUP_FINALIZER)
    return crd
