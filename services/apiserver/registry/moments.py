"""The past as requests name it: a revision ("4711"), a time ("2026-01-02T15:04:05Z") or an age ("5m")."""

from navarch.services.api.codec.times import format_seconds, parse_duration, parse_moment
from navarch.services.api.errors import BadRequest, Expired
from navarch.services.apiserver.registry.core import Core
from navarch.services.apiserver.registry.versions import parse_resource_version
from navarch.services.apiserver.storage import moments
from navarch.services.apiserver.storage.timekeeper import INTERVAL_S


async def revision_of(core: Core, at: str) -> int:
    """The revision that is meant. Raises BadRequest or Expired."""
    if at.isdigit():
        revision = parse_resource_version(at)
        if not revision:
            raise _invalid(at, "revisions count from 1")
        if revision > await core.revisions.read():
            raise _future(at)
        return revision
    now = core.clock.now()
    wanted = _unix_of(at, now)
    if wanted > now:
        raise _future(at)
    # Since the last note, or nearly.
    if now - wanted < INTERVAL_S:
        return await core.revisions.read()
    revision = await moments.revision_at(core.storage.etcd, core.clock, wanted)
    if revision is None:
        raise await expired(core, at)
    return revision


def _unix_of(at: str, now: float) -> float:
    try:
        return now - parse_duration(at) / 1e9
    except ValueError:
        pass
    try:
        seconds, micros = parse_moment(at)
    except ValueError:
        raise _invalid(at, "a revision, a time as in RFC 3339 or an age such as 5m is accepted") from None
    return seconds + micros / 1e6


def _invalid(at: str, why: str) -> BadRequest:
    return BadRequest(f'at: Invalid value: "{at}": {why}')


def _future(at: str) -> BadRequest:
    return _invalid(at, "is in the future")


async def expired(core: Core, at: str) -> Expired:
    """The refusal of what is no longer kept."""
    etcd = core.storage.etcd
    oldest = await moments.oldest_revision(etcd, core.clock)
    noted = await moments.last_noted(etcd, oldest)
    since = f", {format_seconds(int(noted.unix_s))}" if noted.unix_s else ""
    return Expired(f"at: {at} is before the history that is kept, which begins at revision {oldest}{since}")
