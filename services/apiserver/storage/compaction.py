"""Forgets old revisions: the store keeps all of them until it is told otherwise.

Every API server does this; they agree through a key of the store (the one that Kubernetes uses), so that one of
them compacts an interval and the others see that it was done. What is forgotten is what was overwritten before
the previous turn, so that at least one interval of history remains.
"""

from navarch.protos.etcd import rpc_pb2
from navarch.services.api.errors import ApiError
from navarch.services.apiserver.storage.etcd import Compacted, Etcd
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.compaction")
KEY = b"compact_rev_key"


class Compactor:
    """Compacts the store at intervals. interval_s: also the history that is kept, at least."""

    def __init__(self, etcd: Etcd, clock: Clock, interval_s: float) -> None:
        self._etcd = etcd
        self._clock = clock
        self._interval_s = interval_s
        # What we know of the key: how often it was written, and the store's revision at that moment.
        self._version = 0
        self._revision = 0

    async def run(self) -> None:
        """Forever."""
        while True:
            await self._clock.sleep(self._interval_s)
            try:
                await self.turn()
            except (ApiError, Compacted) as failure:
                LOG.warning("compaction.failed", error=str(failure))

    async def turn(self) -> None:
        """Compact to where the store was at the last turn, unless another server had this one."""
        put = rpc_pb2.PutRequest(key=KEY, value=str(self._revision).encode())
        request = rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(key=KEY, target=rpc_pb2.Compare.VERSION, version=self._version)],
            success=[rpc_pb2.RequestOp(request_put=put)],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=KEY))],
        )
        answer = await self._etcd.txn(request)
        last, self._revision = self._revision, answer.header.revision
        if not answer.succeeded:
            self._version = answer.responses[0].response_range.kvs[0].version
            return
        self._version += 1
        if last:
            await self._etcd.compact(last)
            LOG.info("compaction.done", revision=last)
