"""Lease calls of clients, brought to the leader: to this member's keeper if it leads, to a peer's otherwise.

While there is no leader, or another one than was asked, a call waits and is tried again: only a leader knows whether a
lease lives, and a holder that is told otherwise gives up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import grpc

from navarch.protos.navarch import store_pb2
from navarch.protos.navarch.store_pb2_grpc import PeerStub
from navarch.services.base.clock import Clock
from navarch.services.store.errors import LEADER_CHANGED, NO_LEADER, TIMEOUT, EtcdError
from navarch.services.store.lease_keeper import LeaseKeeper
from navarch.services.store.replication.log import ReplicatedLog

if TYPE_CHECKING:
    from navarch.protos.navarch.store_pb2_grpc import PeerAsyncStub

# How long a call is tried, and how long one leader may take: an election or two fit.
PATIENCE_S = 5.0
ANSWER_S = 2.0
RETRY_S = 0.1

_TRANSIENT_HERE = (LEADER_CHANGED.message, NO_LEADER.message, TIMEOUT.message)
_TRANSIENT_THERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class LeaseRouter:
    """stub: for calls to a peer, None when it cannot be reached."""

    def __init__(
        self, keeper: LeaseKeeper, log: ReplicatedLog, stub: Callable[[int], PeerStub | None], clock: Clock
    ) -> None:
        self._keeper = keeper
        self._log = log
        self._stub = stub
        self._clock = clock

    async def renew(self, lease_id: int) -> store_pb2.LeaseTime:
        """See LeaseKeeper. Raises EtcdError when no leader answers in time."""
        request = store_pb2.LeaseRenewal(id=lease_id)

        async def there(peer: "PeerAsyncStub") -> store_pb2.LeaseTime:
            return await peer.RenewLease(request, timeout=ANSWER_S)

        return await self._ask(lambda: self._keeper.renew(lease_id), there)

    async def time_to_live(self, lease_id: int) -> store_pb2.LeaseTime:
        """See LeaseKeeper. Raises EtcdError when no leader answers in time."""
        request = store_pb2.LeaseQuery(id=lease_id)

        async def there(peer: "PeerAsyncStub") -> store_pb2.LeaseTime:
            return await peer.LeaseTimeToLive(request, timeout=ANSWER_S)

        return await self._ask(lambda: self._keeper.time_to_live(lease_id), there)

    async def _ask(
        self,
        here: Callable[[], Awaitable[store_pb2.LeaseTime]],
        there: Callable[["PeerAsyncStub"], Awaitable[store_pb2.LeaseTime]],
    ) -> store_pb2.LeaseTime:
        deadline = self._clock.monotonic() + PATIENCE_S
        while True:
            status = self._log.status()
            try:
                if status.is_leader:
                    async with asyncio.timeout(ANSWER_S):
                        return await here()
                if (peer := self._stub(status.leader_id)) is not None:
                    return await there(cast("PeerAsyncStub", peer))
            except (EtcdError, grpc.aio.AioRpcError, TimeoutError) as failure:
                _unless_transient(failure)
            if self._clock.monotonic() >= deadline:
                raise TIMEOUT() if status.leader_id else NO_LEADER()
            await self._keeper.changed.wait(self._clock, RETRY_S)


def _unless_transient(failure: Exception) -> None:
    """Raises EtcdError for what another try will not mend."""
    if isinstance(failure, EtcdError) and failure.message not in _TRANSIENT_HERE:
        raise failure
    if isinstance(failure, grpc.aio.AioRpcError) and failure.code() not in _TRANSIENT_THERE:
        raise EtcdError(failure.code(), failure.details() or "") from failure
