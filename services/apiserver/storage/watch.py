"""One watch of a key prefix, or of a single key, that outlives its connections.

    feed = StoreFeed(etcd, b"/registry/pods/", revision + 1, clock)
    async for batch in feed: ...

Batches arrive in the order of revisions, without gaps or repeats: after a broken connection the watch goes on
after the last revision it delivered. It ends with `Compacted` when the store has dropped that history, or lost
it (its revision is behind ours); the consumer then reads everything anew.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from navarch.protos.etcd import kv_pb2, rpc_pb2
from navarch.services.apiserver.storage.etcd import Compacted, Etcd
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.watch")
RETRY_MIN_S = 0.05
RETRY_MAX_S = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Events (none: a progress notice), and the revision up to which everything has been delivered."""

    events: Sequence[kv_pb2.Event]
    revision: int


class StoreFeed:
    """An endless series of batches of one prefix. single: of the key that is just that."""

    def __init__(self, etcd: Etcd, prefix: bytes, start_revision: int, clock: Clock, *, single: bool = False) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._end = b"" if single else prefix_end(prefix)
        self._next_revision = start_revision
        self._clock = clock
        self._stream: Any = None

    async def __aiter__(self) -> AsyncGenerator[Batch, None]:
        retry_s = RETRY_MIN_S
        while True:
            stream = self._etcd.watch_stream()
            try:
                async for batch in self._read(stream):
                    retry_s = RETRY_MIN_S
                    yield batch
            except grpc.aio.AioRpcError as failure:
                LOG.debug("feed.broken", prefix=self._prefix, code=failure.code().name, details=failure.details())
            finally:
                self._stream = None
                stream.cancel()
            self._etcd.next_endpoint()
            await self._clock.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    async def _read(self, stream: Any) -> AsyncIterator[Batch]:
        # A long history is more than one message holds, so the store may cut an answer into pieces.
        create = rpc_pb2.WatchCreateRequest(
            key=self._prefix, range_end=self._end, start_revision=self._next_revision, fragment=True
        )
        await stream.write(rpc_pb2.WatchRequest(create_request=create))
        events: list[kv_pb2.Event] = []
        async for response in stream:
            if response.compact_revision:
                raise Compacted(f"history before {response.compact_revision} is gone", response.compact_revision)
            if response.canceled:
                raise Compacted(response.cancel_reason or "the store ended the watch")
            if response.created:
                if response.header.revision < self._next_revision - 1:
                    raise Compacted(f"the store is back at revision {response.header.revision}")
                self._stream = stream
                continue
            events += response.events
            if response.fragment:
                continue
            revision = max((event.kv.mod_revision for event in events), default=response.header.revision)
            self._next_revision = max(self._next_revision, revision + 1)
            yield Batch(events, revision)
            events = []

    async def request_progress(self) -> None:
        """Ask how far the feed is; the answer is a batch without events. Lost when the connection breaks."""
        stream = self._stream
        if stream is None:
            return
        try:
            await stream.write(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as failure:
            LOG.debug("feed.progress_lost", prefix=self._prefix, error=str(failure))


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys with this prefix (which ends in "/", never in 0xff)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
