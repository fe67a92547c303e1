"""Forgets old revisions: the store keeps all of them until it is told otherwise.

What is forgotten is what was overwritten longer ago than the history that is to be kept, by the times noted in the
store (`moments`). So it makes no difference how many API servers do this, or since when they run; where they are told
to keep histories of different lengths, the shortest counts. A store that fills up keeps less: a cluster without its
past is better than one that refuses to write.
"""

from navarch.services.api.errors import ApiError
from navarch.services.apiserver.storage.etcd import Compacted, Etcd
from navarch.services.apiserver.storage.moments import revision_at
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.compaction")
# The history kept is longer than asked for by up to this, or this share of it.
LONGEST_TURN_S = 300.0
TURN_SHARE = 0.1
# Half of what etcd holds by default; from there on no more is kept than Kubernetes does.
FULL_BYTES = 1 << 30
HISTORY_WHEN_FULL_S = 300.0


class Compactor:
    """Compacts the store at intervals. history_s: what is kept, at least."""

    def __init__(self, etcd: Etcd, clock: Clock, history_s: float) -> None:
        self._etcd = etcd
        self._clock = clock
        self._history_s = history_s

    async def run(self) -> None:
        """Forever."""
        while True:
            await self._clock.sleep(min(self._history_s * TURN_SHARE, LONGEST_TURN_S))
            try:
                await self.turn()
            except ApiError as failure:
                LOG.warning("compaction.failed", error=str(failure))

    async def turn(self) -> None:
        """Compact to where the store was as long ago as its history is to be kept."""
        try:
            revision = await revision_at(self._etcd, self._clock, self._clock.now() - await self._wanted_s())
            if revision is not None:
                await self._etcd.compact(revision)
                LOG.info("compaction.done", revision=revision)
        except Compacted:
            LOG.debug("compaction.was_done")

    async def _wanted_s(self) -> float:
        size_bytes = await self._etcd.size_bytes()
        if size_bytes <= FULL_BYTES or self._history_s <= HISTORY_WHEN_FULL_S:
            return self._history_s
        LOG.warning("compaction.store_is_full", size_bytes=size_bytes, history_s=HISTORY_WHEN_FULL_S)
        return HISTORY_WHEN_FULL_S
