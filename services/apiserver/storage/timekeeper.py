"""Notes the time in the store while objects are written (see `moments`).

Every API server does this. A note is a transaction on the last one, so that of several servers one writes it and the
others learn that it was done; it is made right after a write, and then at most once a second until the last write has
been followed by one. A store in which nothing is written stays as it is.
"""

import asyncio

from navarch.protos.etcd import rpc_pb2
from navarch.services.api.errors import ApiError
from navarch.services.apiserver.storage.etcd import Etcd
from navarch.services.apiserver.storage.moments import KEY, NEVER, Moment, moment_of
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.timekeeper")
INTERVAL_S = 1.0


class Timekeeper:
    """Notes the time for the writes that it is told of."""

    def __init__(self, etcd: Etcd, clock: Clock) -> None:
        self._etcd = etcd
        self._clock = clock
        self._written = 0
        self._noted = NEVER
        self._wake = asyncio.Event()

    def wrote(self, revision: int) -> None:
        """Something was written; soon there will be a note of when."""
        self._written = max(self._written, revision)
        self._wake.set()

    async def run(self) -> None:
        """Forever. Begins with what was written before us and may not have been noted."""
        try:
            self.wrote(await self._etcd.revision())
        except ApiError as failure:
            LOG.debug("time.not_noted", error=str(failure))
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._noted.revision < self._written:
                try:
                    await self._note()
                except ApiError as failure:
                    LOG.debug("time.not_noted", error=str(failure))
                    await self._clock.sleep(INTERVAL_S)

    async def _note(self) -> None:
        """Note the time, unless another server has done so since."""
        # Not longer than the interval, also where the last note comes from a clock ahead of ours.
        await self._clock.sleep(min(self._noted.unix_s + INTERVAL_S - self._clock.now(), INTERVAL_S))
        # What is written from here on is not covered by this note.
        covered, self._written = self._written, 0
        now, last = self._clock.now(), self._noted.revision
        put = rpc_pb2.PutRequest(key=KEY, value=b"%.3f" % now)
        request = rpc_pb2.TxnRequest(
            compare=[rpc_pb2.Compare(key=KEY, target=rpc_pb2.Compare.MOD, mod_revision=last)],
            success=[rpc_pb2.RequestOp(request_put=put)],
            failure=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=KEY))],
        )
        try:
            answer = await self._etcd.txn(request)
        except ApiError:
            self.wrote(covered)
            raise
        if answer.succeeded:
            self._noted = Moment(answer.header.revision, now)
            return
        pairs = answer.responses[0].response_range.kvs
        self._noted = moment_of(pairs[0]) if pairs else NEVER
        self.wrote(covered)
