"""Get: one object."""

from typing import Any

from navarch.services.api.errors import BadRequest, MethodNotSupported, Timeout
from navarch.services.api.scale import get_scale
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.cacher.cacher import Cacher
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.moments import expired, revision_of
from navarch.services.apiserver.registry.versions import parse_resource_version
from navarch.services.apiserver.storage.etcd import Compacted
from navarch.services.apiserver.stored import StoredObject

# How long a read waits for a revision that this server has not seen yet.
FUTURE_S = 3.0
# Parts that are read as the whole object or its scale; logs and the like are streams of `navarch.v1.Node`.
OBJECT_PARTS = frozenset({"", "status", "scale", "approval", "ephemeralcontainers", "resize"})


async def get(
    core: Core, user: User, target: Target, resource_version: str = "", *, at: str = ""
) -> StoredObject | Any:
    """The object, or its scale. resource_version: "" newest, "0" maybe stale, else at least that new.

    at: as it was at a revision, a time or some time ago.
    """
    core.admit_user(user, "get", target.named())
    if target.subresource not in OBJECT_PARTS:
        raise MethodNotSupported(target.kind, "get")
    if at and resource_version:
        raise BadRequest("at and resourceVersion exclude each other")
    if at:
        stored = await _read_past(core, target, at)
    else:
        stored = await _read(core, target, parse_resource_version(resource_version))
    if stored is None:
        raise target.not_found()
    return get_scale(stored.decode(), target.kind) if target.subresource == "scale" else stored


async def _read_past(core: Core, target: Target, at: str) -> StoredObject | None:
    try:
        return await core.storage.get(target.kind, target.namespace, target.name, await revision_of(core, at))
    except Compacted as failure:
        raise await expired(core, at) from failure


async def _read(core: Core, target: Target, revision: int | None) -> StoredObject | None:
    cacher = core.cachers.of(target.kind)
    if revision is None:
        if cacher.is_ready and cacher.precise and await is_current(core, cacher):
            return cacher.cache.get(target.key)
        return await core.storage.get(target.kind, target.namespace, target.name)
    if await at_least(core, cacher, revision):
        return cacher.cache.get(target.key)
    return await core.storage.get(target.kind, target.namespace, target.name)


async def is_current(core: Core, cacher: Cacher) -> bool:
    """Bring the cache up to the store's present revision; False when it cannot be known to be there."""
    return await _reach_store(cacher, await core.revisions.read())


async def at_least(core: Core, cacher: Cacher, revision: int) -> bool:
    """Wait for a revision; False when only the store is known to be there. Raises Timeout when nobody is."""
    if (await cacher.ready()).revision >= revision:
        return True
    if await core.revisions.read() >= revision:
        return await _reach_store(cacher, revision)
    if await cacher.reach(revision, FUTURE_S):
        return True
    current = cacher.cache.revision
    error = Timeout(f"Too large resource version: {revision}, current: {current}", retry_after_s=1)
    error.details.causes.add(reason="ResourceVersionTooLarge", message="Too large resource version")
    raise error


async def _reach_store(cacher: Cacher, revision: int) -> bool:
    """Have the cache follow to a revision that the store has."""
    if (await cacher.ready()).revision >= revision:
        return True
    return cacher.precise and await cacher.reach(revision)
