"""The Watch service: one stream carries many watches.

One task reads requests, the handler's own writes responses; gRPC's flow control holds the writer back, and a
writer that is behind holds the reader back.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.store.errors import NOT_SUPPORTED_FOR_LEARNER, STOPPED
from navarch.services.store.member import StoreMember
from navarch.services.store.watch import WatchStream

MAX_BACKLOG = 256


class WatchServicer(rpc_pb2_grpc.WatchServicer):
    """Changes of key ranges from a revision on."""

    def __init__(self, member: StoreMember) -> None:
        self._member = member

    async def Watch(  # type: ignore[override]  # writes by the context, which the stub does not know
        self, request_iterator: AsyncIterator[rpc_pb2.WatchRequest], context: Any
    ) -> None:
        """Serve one stream until either side ends it."""
        if self._member.is_learner:
            raise NOT_SUPPORTED_FOR_LEARNER()
        wake = asyncio.Event()
        room = asyncio.Event()
        stream = WatchStream(self._member.watches, wake.set)

        async def read() -> None:
            async for request in request_iterator:
                stream.handle(request)
                while stream.backlog >= MAX_BACKLOG:
                    room.clear()
                    await room.wait()

        reader = asyncio.create_task(read(), name="watch-reader")
        reader.add_done_callback(lambda _: wake.set())
        self._member.streams.add(wake)
        try:
            while not reader.done() and not self._member.stopping:
                self._member.leader.check(context)
                await wake.wait()
                wake.clear()
                while stream.has_work:
                    responses = stream.take()
                    room.set()
                    for response in responses:
                        await context.write(self._member.stamp(response))
                    if not responses:
                        await asyncio.sleep(0)
            if self._member.stopping:
                raise STOPPED()
            reader.result()
        finally:
            self._member.streams.discard(wake)
            stream.close()
            reader.cancel()
            await asyncio.wait((reader,))
