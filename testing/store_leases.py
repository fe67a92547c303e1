"""Leases under faults: one that is kept alive stays, one that is not goes."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.dialing import channel

LIVE, DEAD = b"/lease/live", b"/lease/dead/"
TTL_S = 6
DEAD_TTL_S = 2
INTERVAL_S = 0.5
CALL_TIMEOUT_S = 2.0
# A new leader may keep a dead lease for a full TTL; several leaders in a row several times.
GONE_TIMEOUT_S = 60.0


class LeaseHolder:
    """Keeps one lease alive and lets others die."""

    def __init__(self, addresses: Callable[[], Sequence[str]], rng: random.Random) -> None:
        self.faults: list[str] = []
        self._addresses = addresses
        self._rng = rng
        self._lease = 0
        # It lives at least until then.
        self._alive_until = 0.0
        self._kept = self._checked = self._died = 0

    @property
    def summary(self) -> str:
        """What was tried, in words."""
        return f"{self._kept} times a lease was kept alive, {self._checked} times seen alive, {self._died} left to die"

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            with contextlib.suppress(grpc.aio.AioRpcError):
                async with self._connection() as connection:
                    if time.monotonic() >= self._alive_until:
                        await self._grant(connection)
                    else:
                        await self._keep_alive(connection)
                        await self._check(connection)
                    if self._rng.random() < 0.2:
                        await self._abandon(connection)
            await asyncio.sleep(INTERVAL_S)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[grpc.aio.Channel]:
        async with channel(self._rng.choice(self._addresses()), None) as connection:
            yield connection

    async def _grant(self, connection: grpc.aio.Channel) -> None:
        begin = time.monotonic()
        request = rpc_pb2.LeaseGrantRequest(TTL=TTL_S)
        lease = (await rpc_pb2_grpc.LeaseStub(connection).LeaseGrant(request, timeout=CALL_TIMEOUT_S)).ID
        put = rpc_pb2.PutRequest(key=LIVE, value=b"%d" % lease, lease=lease)
        await rpc_pb2_grpc.KVStub(connection).Put(put, timeout=CALL_TIMEOUT_S)
        self._lease, self._alive_until = lease, begin + TTL_S

    async def _keep_alive(self, connection: grpc.aio.Channel) -> None:
        begin = time.monotonic()
        stream = rpc_pb2_grpc.LeaseStub(connection).LeaseKeepAlive(timeout=CALL_TIMEOUT_S)
        await stream.write(rpc_pb2.LeaseKeepAliveRequest(ID=self._lease))
        response = await stream.read()
        if isinstance(response, rpc_pb2.LeaseKeepAliveResponse) and response.TTL > 0:
            self._kept += 1
            self._alive_until = begin + TTL_S
        elif isinstance(response, rpc_pb2.LeaseKeepAliveResponse) and time.monotonic() < self._alive_until:
            self.faults.append(f"a lease is unknown {self._alive_until - time.monotonic():.1f} s before its end")
            self._alive_until = 0.0

    async def _check(self, connection: grpc.aio.Channel) -> None:
        found = await rpc_pb2_grpc.KVStub(connection).Range(rpc_pb2.RangeRequest(key=LIVE), timeout=CALL_TIMEOUT_S)
        if time.monotonic() < self._alive_until:
            self._checked += 1
            if not found.kvs or found.kvs[0].lease != self._lease:
                self.faults.append(f"a key is gone {self._alive_until - time.monotonic():.1f} s before its lease ends")
                self._alive_until = 0.0

    async def _abandon(self, connection: grpc.aio.Channel) -> None:
        request = rpc_pb2.LeaseGrantRequest(TTL=DEAD_TTL_S)
        lease = (await rpc_pb2_grpc.LeaseStub(connection).LeaseGrant(request, timeout=CALL_TIMEOUT_S)).ID
        put = rpc_pb2.PutRequest(key=DEAD + b"%d" % lease, lease=lease)
        await rpc_pb2_grpc.KVStub(connection).Put(put, timeout=CALL_TIMEOUT_S)
        self._died += 1

    async def nothing_is_left(self) -> None:
        """Wait until all leases that nobody keeps are gone. Raises TimeoutError."""
        async with asyncio.timeout(GONE_TIMEOUT_S):
            while True:
                async with self._connection() as connection:
                    request = rpc_pb2.RangeRequest(key=b"/lease/", range_end=b"/lease0", count_only=True)
                    found = await rpc_pb2_grpc.KVStub(connection).Range(request, timeout=CALL_TIMEOUT_S)
                    leases = await rpc_pb2_grpc.LeaseStub(connection).LeaseLeases(
                        rpc_pb2.LeaseLeasesRequest(), timeout=CALL_TIMEOUT_S
                    )
                if not found.count and not leases.leases:
                    return
                await asyncio.sleep(INTERVAL_S)
