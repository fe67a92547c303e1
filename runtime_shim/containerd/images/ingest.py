"""Writes one blob into containerd's content store as it arrives, and goes on where an earlier try ended.

containerd keeps an unfinished blob under a reference of the writer's choice, as a file. A reference made of the
digest lets a pull that was cut off, by the network or by our death, find what it had.

Where that file can be reached, the bytes are appended to it, and containerd, asked to go on with it, hashes what
it finds there, just as after a crash of its own: that costs a third of sending them through gRPC, which is what is
done elsewhere. Either way containerd checks size and digest before the blob gets its name.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import IO

import grpc

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error
from navarch.runtime_shim.containerd.images import content
from navarch.runtime_shim.containerd.images.model import Descriptor

# Pieces from a given offset on.
Source = Callable[[Descriptor, int], AsyncGenerator[bytes]]
# Below the root of every containerd since 1.0.
INGESTS = Path("io.containerd.content.v1.content/ingest")


def resumable_ref(digest: str) -> str:
    """The reference under which any try writes this blob. One at a time: containerd locks it."""
    return f"navarch-pull-{digest}"


class Ingester:
    """Stores blobs. root: of containerd; one that isn't there only means the slower way."""

    def __init__(self, client: ContainerdClient, root: Path) -> None:
        self._client = client
        self._ingests = root / INGESTS

    async def store(self, target: Descriptor, source: Source, lease_id: str, ref: str) -> None:
        """Fetch and store a blob. What is there already is not fetched.

        Raises what ``source`` raises; InvalidArgument when the content is not what the digest says, Unavailable
        when an earlier try may be at fault.
        """
        offset = 0
        try:
            offset = await self._begin(target, lease_id, ref)
            path = await asyncio.to_thread(self._file, ref, offset)
            if path is None:
                await self._send(target, source, lease_id, ref)
            else:
                async with _alone(path, offset) as file:
                    async for piece in _pieces(target, source, offset):
                        await asyncio.to_thread(file.write, piece)
                    await self._commit(target, lease_id, ref)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.ALREADY_EXISTS:
                await content.hold(self._client, lease_id, target.digest)
            elif failure.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise await self._drop(target, ref, offset, failure.details() or "") from None
            else:
                raise shim_error(failure) from failure
        except OverflowError:
            raise await self._drop(target, ref, offset, f"more than its {target.size} bytes") from None

    async def _begin(self, target: Descriptor, lease_id: str, ref: str) -> int:
        """Begin the blob, or find it begun: how much of it there is. Raises AioRpcError."""
        async with self._stream(lease_id) as call:
            await content.send(call, _request(contentv1.WriteAction.STAT, target, ref))
            return (await content.answer(call)).offset

    async def _commit(self, target: Descriptor, lease_id: str, ref: str) -> None:
        async with self._stream(lease_id) as call:
            await content.send(call, _request(contentv1.WriteAction.COMMIT, target, ref, target.size))
            await content.answer(call)

    async def _send(self, target: Descriptor, source: Source, lease_id: str, ref: str) -> None:
        """The way that works with any content store. Raises AioRpcError; OverflowError for content beyond the size."""
        async with self._stream(lease_id) as call:
            await content.send(call, _request(contentv1.WriteAction.STAT, target, ref))
            offset = (await content.answer(call)).offset
            async for piece in _pieces(target, source, offset):
                await content.send(call, _request(contentv1.WriteAction.WRITE, target, ref, offset, piece))
                await content.answer(call)
                offset += len(piece)
            await content.send(call, _request(contentv1.WriteAction.COMMIT, target, ref, offset))
            await content.answer(call)

    @asynccontextmanager
    async def _stream(self, lease_id: str) -> AsyncGenerator[content.WriteCall]:
        """A write call. When it has ended well, containerd has let go of its lock on the reference."""
        call: content.WriteCall = self._client.content.Write(None, lease=lease_id)
        wrong: OverflowError | None = None
        try:
            try:
                yield call
            except OverflowError as failure:
                # The source's mistake. What was written is to be dropped next, which needs the lock.
                wrong = failure
            await call.done_writing()
            async with asyncio.timeout(content.ANSWER_TIMEOUT_S):
                await call.read()
        finally:
            call.cancel()
        if wrong is not None:
            raise wrong

    def _file(self, ref: str, offset: int) -> Path | None:
        """Where containerd keeps this unfinished blob, if it is as we know it."""
        name = f"/{ref}"
        try:
            for folder in self._ingests.iterdir():
                data = folder / "data"
                if (folder / "ref").read_text().endswith(name) and data.stat().st_size == offset:
                    return data
        except OSError:
            return None
        return None

    async def _drop(self, target: Descriptor, ref: str, offset: int, why: str) -> errors.ShimError:
        """Drop wrong bytes: they must not be gone on from. A host that lost its power may have left such."""
        await self._client.content.Abort(contentv1.AbortRequest(ref=ref))
        kind = errors.Unavailable if offset else errors.InvalidArgument
        return kind(f"wrong content for {target.digest}: {why}")


def _request(
    action: contentv1.WriteAction, target: Descriptor, ref: str, offset: int = 0, data: bytes = b""
) -> contentv1.WriteContentRequest:
    return contentv1.WriteContentRequest(
        action=action, ref=ref, offset=offset, data=data, total=target.size, expected=target.digest
    )


@asynccontextmanager
async def _alone(path: Path, offset: int) -> AsyncGenerator[IO[bytes]]:
    """The file, to append to. containerd's lock is not held meanwhile, so there is one of ours. Raises Unavailable."""
    file = await asyncio.to_thread(path.open, "ab", 0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.Unavailable("another shim is fetching it") from None
        if os.fstat(file.fileno()).st_size != offset:
            raise errors.Unavailable("another shim has fetched more of it")
        yield file


async def _pieces(target: Descriptor, source: Source, offset: int) -> AsyncGenerator[bytes]:
    """What is missing from the offset on. Raises Unavailable for less than that, OverflowError for more."""
    if offset < target.size:
        async with aclosing(source(target, offset)) as pieces:
            async for piece in pieces:
                yield piece
                offset += len(piece)
                if offset > target.size:
                    raise OverflowError
    if offset < target.size:
        raise errors.Unavailable(f"{target.digest} broke off after {offset} of {target.size} bytes")
