"""The transport between members: one call of Deliver to each peer carries what is sent to it.

What is queued for a peer leaves together, so that a message costs little when there are many and waits for nothing
when there are few. A queue holds at most QUEUE_BYTES and QUEUE_MESSAGES; what exceeds them is dropped, as is what was
queued when a connection ended. Raft sends again what matters.

A connection counts once the peer has accepted the call. One that falls silent is given up after about KEEPALIVE_S +
SILENCE_S. Each attempt dials anew, the peer's URLs in turn, after a pause that grows to MAX_PAUSE_S and is cut short
when the peer connects to us. gRPC's own reconnecting is never used. Single calls have a connection of their own: a
snapshot under way must not delay a heartbeat.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import grpc

from navarch.protos.navarch import store_pb2, store_pb2_grpc
from navarch.services.base.clock import Clock
from navarch.services.base.credentials import Credentials
from navarch.services.base.dialing import MESSAGE_BYTES
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.store.peer_urls import parse
from navarch.services.store.replication.transport import Receiver

QUEUE_MESSAGES = 10_000
QUEUE_BYTES = 32 << 20
# Of one batch; a larger message travels alone.
BATCH_BYTES = 4 << 20
MIN_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
# For one attempt, TLS included; enough for a few round trips of half a second.
CONNECT_TIMEOUT_S = 2.5
KEEPALIVE_S = 1.0
SILENCE_S = 1.5

CLUSTER_KEY, FROM_KEY, TO_KEY = "navarch-cluster-id", "navarch-from", "navarch-to"

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(SILENCE_S * 1000)),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT_S * 1000)),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", int(MAX_PAUSE_S * 1000)),
    # Members in one process must not share a connection, nor an attempt the fate of the last.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
# What a server needs to bear these pings.
SERVER_OPTIONS = [
    ("grpc.http2.min_recv_ping_interval_without_data_ms", int(KEEPALIVE_S * 500)),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(SILENCE_S * 1000)),
]
_DELIVER = "/navarch.store.v1.Peer/Deliver"
_log = get_logger("store")


class Peers:
    """A Transport. credentials: for peers with an https URL."""

    def __init__(
        self,
        cluster_id: int,
        member_id: int,
        credentials: Credentials | None,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.credentials = credentials
        self.clock = clock
        self.rng = rng or random.SystemRandom()
        self._wanted: dict[int, tuple[str, ...]] = {}
        self._links: dict[int, _Link] = {}
        self._receiver: Receiver | None = None
        self._tasks = TaskOwner()
        self._last_message: store_pb2.RaftMessage | None = None
        self._last_batch = b""

    async def start(self, receiver: Receiver) -> None:
        """See Transport."""
        self._receiver = receiver
        for peer, urls in self._wanted.items():
            self._open(receiver, peer, urls)

    async def stop(self) -> None:
        """See Transport."""
        self._receiver = None
        await self._tasks.close()
        self._links.clear()

    def set_peers(self, peers: Mapping[int, Sequence[str]]) -> None:
        """See Transport."""
        wanted = {peer: tuple(urls) for peer, urls in peers.items()}
        for peer, urls in self._wanted.items():
            if wanted.get(peer) != urls and (link := self._links.pop(peer, None)) is not None:
                link.task.cancel()
        before, self._wanted = self._wanted, wanted
        if self._receiver is not None:
            for peer, urls in wanted.items():
                if before.get(peer) != urls:
                    self._open(self._receiver, peer, urls)

    def _open(self, receiver: Receiver, peer: int, urls: tuple[str, ...]) -> None:
        self._links[peer] = link = _Link(self, receiver, peer, urls)
        link.task = self._tasks.spawn(link.run(), f"peer-{peer:x}")

    def send(self, peer: int, message: store_pb2.RaftMessage) -> None:
        """See Transport. The message may go to several peers, but must not be changed any more."""
        link = self._links.get(peer)
        if link is None or not link.connected:
            return
        if message is not self._last_message:
            # Serialized batches one behind the other are one batch.
            self._last_batch = store_pb2.RaftBatch(messages=(message,)).SerializeToString()
            self._last_message = message
        link.queue(self._last_batch)

    def stub(self, peer: int) -> store_pb2_grpc.PeerStub | None:
        """See Transport. Calls carry the metadata already."""
        link = self._links.get(peer)
        return link.stub if link is not None else None

    def sent_bytes(self) -> dict[int, int]:
        """What has left for each peer since its link was made."""
        return {peer: link.sent_bytes for peer, link in self._links.items()}

    def appeared(self, peer: int) -> None:
        """A peer has connected to us, so it is worth trying it at once."""
        link = self._links.get(peer)
        if link is not None:
            link.hurry.set()


class _Link:
    """One peer: its queue, and the task that connects and writes."""

    task: "asyncio.Task[None]"

    def __init__(self, peers: Peers, receiver: Receiver, peer: int, urls: tuple[str, ...]) -> None:
        self.connected = False
        self.hurry = asyncio.Event()
        self.stub: store_pb2_grpc.PeerStub | None = None
        self._peers = peers
        self._receiver = receiver
        self._peer = peer
        self._urls = urls
        self._metadata = (
            (CLUSTER_KEY, f"{peers.cluster_id:x}"),
            (FROM_KEY, f"{peers.member_id:x}"),
            (TO_KEY, f"{peer:x}"),
        )
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._problem = ""
        self.sent_bytes = 0

    def queue(self, batch: bytes) -> None:
        """Append a batch, or drop it."""
        if len(self._queue) >= QUEUE_MESSAGES or self._queued_bytes + len(batch) > QUEUE_BYTES:
            return
        self._queue.append(batch)
        self._queued_bytes += len(batch)
        self._wake.set()

    async def run(self) -> None:
        """Connect, write, and again."""
        clock, pause_s, attempt = self._peers.clock, MIN_PAUSE_S, 0
        while True:
            began = clock.monotonic()
            self.hurry.clear()
            problem = await self._attempt(self._urls[attempt % len(self._urls)]) if self._urls else "it has no peer URL"
            attempt += 1
            if clock.monotonic() - began > CONNECT_TIMEOUT_S + MAX_PAUSE_S:
                # It had been connected.
                pause_s = MIN_PAUSE_S
            if problem != self._problem:
                self._problem = problem
                _log.warning("store.peer_unreachable", peer=f"{self._peer:x}", urls=self._urls, problem=problem)
            await self._pause(pause_s * (0.5 + self._peers.rng.random() / 2))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        waits = [asyncio.ensure_future(self.hurry.wait()), asyncio.ensure_future(self._peers.clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _attempt(self, url: str) -> str:
        """Connect and write until the connection ends; returns why."""
        try:
            secure, address = parse(url)
            if secure and self._peers.credentials is None:
                return f"{url} needs a certificate"
        except ValueError as mistake:
            return str(mistake)
        async with self._dial(secure, address) as channel, self._dial(secure, address) as single:
            call: grpc.aio.StreamUnaryCall[bytes, bytes] = channel.stream_unary(_DELIVER)(metadata=self._metadata)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    accepted = await call.initial_metadata()
                if accepted.get(FROM_KEY) == f"{self._peer:x}":
                    self.stub = store_pb2_grpc.PeerStub(cast(grpc.Channel, _Stamping(single, self._metadata)))
                    await self._write(call, url)
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    return await call.details() or (await call.code()).name
            except TimeoutError:
                return f"no answer within {CONNECT_TIMEOUT_S} s"
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError) as failure:
                return failure.details() or "" if isinstance(failure, grpc.aio.AioRpcError) else str(failure)
            finally:
                self.stub = None
                call.cancel()

    def _dial(self, secure: bool, address: str) -> grpc.aio.Channel:
        if not secure:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        assert self._peers.credentials is not None
        return grpc.aio.secure_channel(address, self._peers.credentials.channel(), options=_OPTIONS)

    async def _write(self, call: "grpc.aio.StreamUnaryCall[bytes, bytes]", url: str) -> None:
        """Write what is queued, until the call is over."""
        wake = self._wake
        call.add_done_callback(lambda _: wake.set())
        self._queue.clear()
        self._queued_bytes = 0
        self.connected, self._problem = True, ""
        _log.info("store.peer_connected", peer=f"{self._peer:x}", url=url)
        self._receiver.connected(self._peer)
        try:
            while not call.done():
                if not self._queue:
                    wake.clear()
                    await wake.wait()
                    continue
                batch = self._take()
                await call.write(batch)
                self.sent_bytes += len(batch)
        finally:
            self.connected = False
            self._queue.clear()
            self._receiver.disconnected(self._peer)

    def _take(self) -> bytes:
        """As much of the queue as makes one batch."""
        queue = self._queue
        if self._queued_bytes <= BATCH_BYTES:
            batch = b"".join(queue) if len(queue) > 1 else queue[0]
            queue.clear()
        else:
            size = count = 0
            for count, part in enumerate(queue):
                size += len(part)
                if size > BATCH_BYTES and count:
                    break
            else:
                count += 1
            batch = b"".join(queue[:count])
            del queue[:count]
        self._queued_bytes -= len(batch)
        return batch


class _Stamping:
    """A channel whose calls carry metadata, for generated stubs."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata

    def __getattr__(self, kind: str) -> Any:
        def method(*arguments: Any, **options: Any) -> Any:
            return partial(getattr(self._channel, kind)(*arguments, **options), metadata=self._metadata)

        return method
