"""Writes one blob into containerd's content store as it arrives, and goes on where an earlier try ended.

containerd keeps an unfinished blob under a reference of the writer's choice. The reference here is made of the
digest, so a pull that was cut off, by the network or by our death, finds what it had.
"""

from collections.abc import AsyncIterator, Callable

import grpc

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error
from navarch.runtime_shim.containerd.images import content
from navarch.runtime_shim.containerd.images.model import Descriptor

# Pieces from a given offset on.
Source = Callable[[Descriptor, int], AsyncIterator[bytes]]


async def ingest(client: ContainerdClient, target: Descriptor, source: Source, lease_id: str) -> None:
    """Fetch and store a blob; containerd checks digest and size. What is there already is not fetched.

    Raises what ``source`` raises; InvalidArgument when the content is not what the digest says.
    """
    ref = f"navarch-pull-{target.digest}"
    first = contentv1.WriteContentRequest(
        action=contentv1.WriteAction.STAT, ref=ref, total=target.size, expected=target.digest
    )
    call = client.content.Write(None, lease=lease_id)
    try:
        await call.write(first)
        offset = (await content.answer(call)).offset
        if offset < target.size:
            async for piece in source(target, offset):
                await call.write(
                    contentv1.WriteContentRequest(
                        action=contentv1.WriteAction.WRITE, ref=ref, offset=offset, data=piece
                    )
                )
                await content.answer(call)
                offset += len(piece)
                if offset > target.size:
                    break
        if offset < target.size:
            raise errors.Unavailable(f"{target.digest} broke off after {offset} of {target.size} bytes")
        if offset > target.size:
            raise await _wrong(client, target, ref, f"more than its {target.size} bytes")
        await call.write(
            contentv1.WriteContentRequest(
                action=contentv1.WriteAction.COMMIT, ref=ref, offset=offset, total=offset, expected=target.digest
            )
        )
        await content.answer(call)
        await call.done_writing()
    except grpc.aio.AioRpcError as failure:
        await _settle(client, target, ref, failure, lease_id)
    finally:
        call.cancel()


async def _settle(
    client: ContainerdClient, target: Descriptor, ref: str, failure: grpc.aio.AioRpcError, lease_id: str
) -> None:
    if failure.code() is grpc.StatusCode.ALREADY_EXISTS:
        await content.hold(client, lease_id, target.digest)
        return
    if failure.code() is grpc.StatusCode.FAILED_PRECONDITION:
        raise await _wrong(client, target, ref, failure.details() or "")
    raise shim_error(failure) from failure


async def _wrong(client: ContainerdClient, target: Descriptor, ref: str, why: str) -> errors.InvalidArgument:
    """Drop wrong bytes: they must not be gone on from."""
    await client.content.Abort(contentv1.AbortRequest(ref=ref))
    return errors.InvalidArgument(f"the registry sent wrong content for {target.digest}: {why}")
