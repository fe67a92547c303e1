"""Reading one's own writes.

A controller that plans on a cache which does not show its last writes yet repeats them: too many Pods, two
slices for one purpose, needless conflicts. `OwnWrites` remembers, for each key being reconciled, what was
written; until the cache has caught up, `settled` says no and the reconcile waits for the events that bring
the writes (each makes the key be reconciled again).

An object that is created and deleted within a gap of the watch is never seen at all. So memory of a write
ends after `TTL_S`: by then the cache is complete without it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from google.protobuf.message import Message

from navarch.services.api.meta import is_being_deleted, key_of, metadata_of

# Longer than a watch takes to reconnect and list again.
TTL_S = 30.0


@dataclass(slots=True)
class _Pending:
    """uid -> key and resource version to wait for (None: wait for its deletion)."""

    expires_at: float = 0.0
    objects: dict[str, tuple[str, int | None]] = field(default_factory=dict)


class OwnWrites:
    """Writes to objects of one kind that its cache does not show yet, by the key whose reconcile made them."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}

    def wrote(self, key: str, objects: Iterable[Message], now: float) -> None:
        """These were created or updated; as the API server answered them. now: monotonic."""
        for each in objects:
            self._remember(key, each, _version(each), now)

    def deleted(self, key: str, objects: Iterable[Message], now: float) -> None:
        """The deletion of these was asked for."""
        for each in objects:
            self._remember(key, each, None, now)

    def saw_deletion(self, key: str, obj: Message) -> None:
        """The cache dropped an object: nothing more of it is to come."""
        if (pending := self._pending.get(key)) is not None:
            pending.objects.pop(metadata_of(obj).uid, None)

    def settled(self, key: str, cached: Callable[[str], Message | None], now: float) -> bool:
        """Whether the cache shows all that was written. cached: looks an object up by namespace/name."""
        pending = self._pending.get(key)
        if pending is None:
            return True
        for uid, (name, version) in list(pending.objects.items()):
            if _shows(cached(name), uid, version):
                del pending.objects[uid]
        if pending.objects and now < pending.expires_at:
            return False
        del self._pending[key]
        return True

    def _remember(self, key: str, obj: Message, version: int | None, now: float) -> None:
        pending = self._pending.setdefault(key, _Pending())
        pending.expires_at = now + TTL_S
        pending.objects[metadata_of(obj).uid] = (key_of(obj), version)


def _version(obj: Message) -> int:
    return int(metadata_of(obj).resource_version or 0)


def _shows(cached: Message | None, uid: str, version: int | None) -> bool:
    """Whether the cache is as new as the write. A newer namesake with another uid proves that ours is gone."""
    if cached is None:
        return version is None
    if metadata_of(cached).uid != uid:
        return version is None or _version(cached) > version
    return is_being_deleted(cached) if version is None else _version(cached) >= version
