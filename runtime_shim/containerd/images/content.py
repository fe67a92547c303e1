"""Blobs in containerd's content store, and the leases that keep them until something refers to them.

containerd's collector removes content that no root reaches. Roots are images, containers and leases; a blob
reaches others through its `containerd.io/gc.ref.content.*` labels. So writing goes: lease, blobs from the
leaves up, image record, end of lease. A killed shim leaves a lease that expires by itself.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import grpc

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.protos.containerd.services.leases import v1_pb2 as leasesv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error
from navarch.runtime_shim.containerd.images.model import Descriptor

CHUNK_BYTES = 1 << 20
LEASE_S = 3600


@asynccontextmanager
async def lease(client: ContainerdClient, *, keep_after_failure: bool = False) -> AsyncIterator[str]:
    """The id of a lease for the duration of the block; it expires within the hour should we be killed.

    keep_after_failure: let it expire also when the block fails, so that another try finds what there is.
    """
    name = f"navarch-{secrets.token_hex(8)}"
    expiry = (datetime.now(UTC) + timedelta(seconds=LEASE_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await client.leases.Create(leasesv1.CreateRequest(id=name, labels={"containerd.io/gc.expire": expiry}))
    keep = False
    try:
        yield name
    except BaseException:
        keep = keep_after_failure
        raise
    finally:
        if not keep:
            await asyncio.shield(client.leases.Delete(leasesv1.DeleteRequest(id=name)))


async def write(
    client: ContainerdClient, target: Descriptor, chunks: Iterable[bytes], lease_id: str, labels: Mapping[str, str]
) -> None:
    """Store a blob; containerd checks digest and size. One that is there already only gets the labels."""
    call = client.content.Write(None, lease=lease_id)
    try:
        for request in _write_requests(target, chunks, labels):
            await call.write(request)
            await answer(call)
        await call.done_writing()
    except grpc.aio.AioRpcError as failure:
        if failure.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise shim_error(failure) from None
        await set_labels(client, target.digest, labels)
        await hold(client, lease_id, target.digest)
    finally:
        call.cancel()


async def answer(
    call: "grpc.aio.StreamStreamCall[contentv1.WriteContentRequest, contentv1.WriteContentResponse]",
) -> contentv1.WriteContentResponse:
    """The answer to the last request of a write. Waiting for it keeps the status of a refusal from being lost.

    Raises AioRpcError.
    """
    received = await call.read()
    if not isinstance(received, contentv1.WriteContentResponse):
        # The stream has ended: its status says why.
        trailers = await call.initial_metadata(), await call.trailing_metadata()
        raise grpc.aio.AioRpcError(await call.code(), *trailers, await call.details())
    return received


def _write_requests(
    target: Descriptor, chunks: Iterable[bytes], labels: Mapping[str, str]
) -> Iterable[contentv1.WriteContentRequest]:
    # A reference of its own for each try, as an unfinished one of the same name would be locked.
    ref = f"navarch-{secrets.token_hex(8)}-{target.digest}"
    yield contentv1.WriteContentRequest(
        action=contentv1.WriteAction.WRITE, ref=ref, total=target.size, expected=target.digest
    )
    offset = 0
    for chunk in chunks:
        yield contentv1.WriteContentRequest(action=contentv1.WriteAction.WRITE, ref=ref, offset=offset, data=chunk)
        offset += len(chunk)
    yield contentv1.WriteContentRequest(
        action=contentv1.WriteAction.COMMIT,
        ref=ref,
        total=target.size,
        expected=target.digest,
        offset=offset,
        labels=dict(labels),
    )


async def hold(client: ContainerdClient, lease_id: str, digest: str) -> None:
    """Let a lease keep a blob."""
    resource = leasesv1.Resource(id=digest, type="content")
    try:
        await client.leases.AddResource(leasesv1.AddResourceRequest(id=lease_id, resource=resource))
    except errors.AlreadyExists:
        return


async def set_labels(client: ContainerdClient, digest: str, labels: Mapping[str, str]) -> None:
    """Add labels to a blob."""
    if not labels:
        return
    request = contentv1.UpdateRequest(info=contentv1.Info(digest=digest, labels=dict(labels)))
    request.update_mask.paths.extend(f"labels.{name}" for name in labels)
    await client.content.Update(request)


async def read(client: ContainerdClient, digest: str, limit_bytes: int = 8 << 20) -> bytes:
    """A small blob whole. Raises NotFound; InvalidArgument for one beyond the limit."""
    parts: list[bytes] = []
    size = 0
    try:
        async for answer in client.content.Read(contentv1.ReadContentRequest(digest=digest)):
            parts.append(answer.data)
            size += len(answer.data)
            if size > limit_bytes:
                raise errors.InvalidArgument(f"{digest} exceeds the {limit_bytes} bytes that a manifest may have")
    except grpc.aio.AioRpcError as failure:
        raise shim_error(failure) from None
    return b"".join(parts)
