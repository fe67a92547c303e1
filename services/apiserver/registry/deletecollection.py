"""DeleteCollection: delete all objects that a selection names, each on its own."""

import asyncio

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import Conflict, NotFound
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.delete import check_options, delete_object
from navarch.services.apiserver.registry.get import is_current
from navarch.services.apiserver.registry.list import ObjectList, selection_of
from navarch.services.apiserver.stored import StoredObject

AT_ONCE = 32


async def delete_collection(
    core: Core,
    user: User,
    target: Target,
    label_selector: str,
    field_selector: str,
    options: metav1.DeleteOptions,
) -> ObjectList:
    """Delete what is selected now. Returns what was found; an object that vanished meanwhile is no error."""
    core.admit_user(user, "deletecollection", target)
    check_options(options)
    selection = selection_of(target, label_selector, field_selector)
    cacher = core.cachers.of(target.kind)
    if await is_current(core, cacher):
        found = list(cacher.cache.candidates(selection))
    else:
        found = (await core.storage.page(target.kind, target.namespace)).objects
    chosen = [stored for stored in found if selection.matches(stored)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def delete_one(stored: StoredObject) -> None:
        one = Target(target.kind, stored.namespace, stored.name)
        async with turn:
            try:
                await delete_object(core, one, _for_this(options, stored), guess=stored)
            except (NotFound, Conflict):
                # Gone, or replaced by another of the same name: not what was asked to be deleted.
                return

    async with asyncio.TaskGroup() as group:
        for stored in chosen:
            group.create_task(delete_one(stored))
    return ObjectList(chosen, cacher.cache.revision)


def _for_this(options: metav1.DeleteOptions, stored: StoredObject) -> metav1.DeleteOptions:
    mine = metav1.DeleteOptions()
    mine.CopyFrom(options)
    if not mine.preconditions.HasField("uid"):
        mine.preconditions.uid = stored.message.metadata.uid
    return mine
