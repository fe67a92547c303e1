"""Blobs in containerd's content store, and the leases that keep them until something refers to them.

containerd's collector removes content that no root reaches. Roots are images, containers and leases; a blob
reaches others through its `containerd.io/gc.ref.content.*` labels. So writing goes: lease, blobs from the
leaves up, image record, end of lease. A killed shim leaves a lease that expires by itself.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import grpc

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.protos.containerd.services.leases import v1_pb2 as leasesv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error
from navarch.runtime_shim.containerd.images import model
from navarch.runtime_shim.containerd.images.model import Descriptor

# Long enough for the slowest image; a collection after that clears what a killed pull left.
LEASE_S = 24 * 3600
# Labels that tell containerd's collector which blobs a blob needs.
GC_CONTENT = "containerd.io/gc.ref.content"
# An answer to one piece, or to a commit, which syncs the whole blob to disk.
ANSWER_TIMEOUT_S = 300.0
# On the lease of a pull: the image's name. Leases of earlier tries are found by it.
PULL_LABEL = "io.navarch.pull"
# What containerd says, in whatever status, when the disk is full.
DISK_FULL = "no space left on device"


WriteCall: TypeAlias = "grpc.aio.StreamStreamCall[contentv1.WriteContentRequest, contentv1.WriteContentResponse]"


@asynccontextmanager
async def lease(client: ContainerdClient, *, pull: str = "") -> AsyncIterator[str]:
    """The id of a lease for the duration of the block; it expires within a day should we be killed.

    pull: the image that is being pulled. Its lease is let expire when the registry or the caller gave up, so that
    another try finds what there is; one that succeeds ends them all. What was wrong, or filled the disk, goes at once.
    """
    name = f"navarch-{secrets.token_hex(8)}"
    expiry = (datetime.now(UTC) + timedelta(seconds=LEASE_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"containerd.io/gc.expire": expiry, **({PULL_LABEL: pull} if pull else {})}
    await client.leases.Create(leasesv1.CreateRequest(id=name, labels=labels))
    keep = False
    try:
        yield name
    except (errors.Unavailable, asyncio.CancelledError):
        keep = bool(pull)
        raise
    except errors.RuntimeFailure as failure:
        if DISK_FULL in str(failure):
            raise errors.ResourceExhausted(str(failure)) from failure
        raise
    finally:
        if not keep:
            await asyncio.shield(_end_lease(client, name, pull))


async def _end_lease(client: ContainerdClient, name: str, pull: str) -> None:
    """End a lease, and those that earlier pulls of the image left."""
    names = {name}
    if pull:
        filters = [f'labels."{PULL_LABEL}"=={json.dumps(pull)}']
        names |= {found.id for found in (await client.leases.List(leasesv1.ListRequest(filters=filters))).leases}
    for one in sorted(names):
        try:
            await client.leases.Delete(leasesv1.DeleteRequest(id=one, sync=True))
        except errors.NotFound:
            continue  # It has just expired.


async def write(
    client: ContainerdClient, target: Descriptor, data: bytes, lease_id: str, labels: Mapping[str, str]
) -> None:
    """Store a small blob; containerd checks digest and size. One that is there already only gets the labels."""
    # A reference of its own for each try, as an unfinished one of the same name would be locked.
    ref = f"navarch-{secrets.token_hex(8)}-{target.digest}"
    call = client.content.Write(None, lease=lease_id)
    request = contentv1.WriteContentRequest(
        action=contentv1.WriteAction.COMMIT,
        ref=ref,
        data=data,
        total=target.size,
        expected=target.digest,
        labels=dict(labels),
    )
    try:
        await send(call, request)
        await answer(call)
    except grpc.aio.AioRpcError as failure:
        if failure.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise shim_error(failure) from None
        await set_labels(client, target.digest, labels)
        await hold(client, lease_id, target.digest)
    finally:
        call.cancel()


async def send(call: WriteCall, request: contentv1.WriteContentRequest) -> None:
    """Send one request of a write. Raises AioRpcError."""
    try:
        await call.write(request)
    except asyncio.InvalidStateError:
        # The stream ended while we were busy elsewhere; the answer says why.
        await answer(call)


async def answer(call: WriteCall) -> contentv1.WriteContentResponse:
    """The next answer of a write. Waiting for it keeps the status of a refusal from being lost.

    Raises AioRpcError; Unavailable where containerd does not answer.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            received = await call.read()
    except TimeoutError:
        raise errors.Unavailable("containerd does not take in content") from None
    if not isinstance(received, contentv1.WriteContentResponse):
        # The stream has ended: its status says why.
        trailers = await call.initial_metadata(), await call.trailing_metadata()
        raise grpc.aio.AioRpcError(await call.code(), *trailers, await call.details())
    return received


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


async def read(client: ContainerdClient, digest: str, limit_bytes: int = model.DOCUMENT_BYTES) -> bytes:
    """A small blob whole. Raises NotFound; InvalidArgument for one beyond the limit."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in client.content.Read(contentv1.ReadContentRequest(digest=digest)):
            parts.append(part.data)
            size += len(part.data)
            if size > limit_bytes:
                raise errors.InvalidArgument(f"{digest} exceeds the {limit_bytes} bytes that a manifest may have")
    except grpc.aio.AioRpcError as failure:
        raise shim_error(failure) from None
    return b"".join(parts)


def gc_labels(kind: str, targets: Sequence[Descriptor]) -> dict[str, str]:
    """Garbage collection labels: kind is "m" for manifests, "l" for layers."""
    return {f"{GC_CONTENT}.{kind}.{position}": target.digest for position, target in enumerate(targets)}
