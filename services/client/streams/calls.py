"""gRPC streams that go both ways, with an owner for the task that writes.

A call that is given an iterator of requests goes on reading it after its end, until the collector finds it. Here the
writing ends with the reading.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc


async def exchange(
    call: Any, requests: AsyncIterator[Any], translate: Callable[[grpc.aio.AioRpcError], Exception]
) -> AsyncIterator[Any]:
    """Write `requests` to a call, then half-close it; give its answers meanwhile.

    translate: what a failure of the call is raised as. Raises what `requests` raises, too.
    """

    async def write() -> None:
        try:
            async for request in requests:
                await call.write(request)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The call has ended, which the answers tell.
            return
        except Exception:
            call.cancel()
            raise

    writing = asyncio.ensure_future(write())
    try:
        async for answer in call:
            yield answer
    except grpc.aio.AioRpcError as failure:
        raise translate(failure) from failure
    except asyncio.CancelledError:
        if writing.done() and not writing.cancelled() and (fault := writing.exception()) is not None:
            raise fault from None
        raise
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        call.cancel()
