"""DeleteCollection: delete all objects that a selection names, each on its own."""

from collections.abc import Awaitable, Callable

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import ApiError, Conflict, NotFound
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.batch import run_batch
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.delete import check_options, delete_object
from navarch.services.apiserver.registry.get import is_current
from navarch.services.apiserver.registry.list import ObjectList, selection_of
from navarch.services.apiserver.registry.modify import Modified
from navarch.services.apiserver.stored import StoredObject


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
        chosen, revision = list(cacher.cache.selected(selection)), cacher.cache.revision
    else:
        found, revision = await core.storage.read_all(target.kind, namespace=target.namespace)
        chosen = list(selection.filter(found))

    def deletion(stored: StoredObject) -> Callable[[], Awaitable[Modified]]:
        one = Target(target.kind, stored.namespace, stored.name)
        return lambda: delete_object(core, user, one, _for_this(options, stored), guess=stored)

    for result in await run_batch([(stored.key, deletion(stored)) for stored in chosen]):
        # Gone, or replaced by another of the same name: not what was asked to be deleted.
        if isinstance(result, ApiError) and not isinstance(result, NotFound | Conflict):
            raise result
    return ObjectList(chosen, revision)


def _for_this(options: metav1.DeleteOptions, stored: StoredObject) -> metav1.DeleteOptions:
    mine = metav1.DeleteOptions()
    mine.CopyFrom(options)
    if not mine.preconditions.HasField("uid"):
        mine.preconditions.uid = stored.decode().metadata.uid
    return mine
