"""Snapshots on their way from the leader to a follower that is far behind.

The receiver keeps what it has of a snapshot in a file that is named after it, so that a transfer goes on where it
ended, also after a restart of either side. Only when all of it is there, on disk, and its checksum is right, is it
handed to be installed, and only after that is it acknowledged. What turns out wrong is thrown away as a whole.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc

from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.store.errors import CorruptionError
from navarch.services.store.replication.transport import SnapshotFile, Transport

CHUNK_BYTES = 1 << 20
# The slowest transfer that is waited for, and what else takes time: verification, installation.
SLOWEST_BYTES_S = 256 << 10
INSTALL_S = 120.0
OFFER_TIMEOUT_S = 5.0
RETRY_S = 0.5
# Attempts in a row that got nothing across; then the snapshot is too old to be worth more.
ATTEMPTS = 20
_PART = ".part"
_log = get_logger("store")


class SnapshotRefused(Exception):
    """The receiver does not take it; the message says why."""


class SnapshotSender:
    """Brings snapshots to peers."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    async def send(self, peer: int, snapshot: SnapshotFile, term: int) -> bool:
        """Returns True once the peer has installed it, False when that is hopeless. Raises OSError.

        The file is used up: it has no name any more from the first attempt on, and is gone with the last.
        """
        offer = store_pb2.SnapshotOffer(
            term=term,
            last_index=snapshot.last_index,
            last_term=snapshot.last_term,
            size_bytes=snapshot.size_bytes,
            sha256=snapshot.sha256,
        )
        descriptor = os.open(snapshot.path, os.O_RDONLY | os.O_CLOEXEC)
        snapshot.path.unlink()
        try:
            attempts, reached = 0, -1
            while attempts < ATTEMPTS:
                attempts += 1
                offset, installed = await self._attempt(peer, offer, descriptor)
                if installed:
                    _log.info("store.snapshot_sent", peer=f"{peer:x}", index=offer.last_index)
                    return True
                if offset > reached:
                    attempts, reached = 0, offset
                await self._clock.sleep(RETRY_S)
            _log.warning("store.snapshot_not_sent", peer=f"{peer:x}", index=offer.last_index)
            return False
        finally:
            os.close(descriptor)

    async def _attempt(self, peer: int, offer: store_pb2.SnapshotOffer, descriptor: int) -> tuple[int, bool]:
        """How much the peer had before, -1 when it did not say, and whether it has installed it now."""
        # Typed as a blocking stub, like all that are made.
        stub: Any = self._transport.stub(peer)
        if stub is None:
            return -1, False
        offset = -1
        try:
            offset = (await stub.OfferSnapshot(offer, timeout=OFFER_TIMEOUT_S)).offset
            timeout = INSTALL_S + (offer.size_bytes - offset) / SLOWEST_BYTES_S
            await stub.InstallSnapshot(_chunks(offer, descriptor, offset), timeout=timeout)
            return offset, True
        except grpc.aio.AioRpcError as failure:
            _log.warning("store.snapshot_interrupted", peer=f"{peer:x}", offset=offset, error=failure.details())
            return offset, False


async def _chunks(
    offer: store_pb2.SnapshotOffer, descriptor: int, offset: int
) -> AsyncIterator[store_pb2.SnapshotChunk]:
    yield store_pb2.SnapshotChunk(offer=offer, offset=offset)
    while offset < offer.size_bytes:
        data = await asyncio.to_thread(os.pread, descriptor, min(CHUNK_BYTES, offer.size_bytes - offset), offset)
        if not data:
            raise OSError(f"the snapshot is cut off at byte {offset}")
        yield store_pb2.SnapshotChunk(offset=offset, data=data)
        offset += len(data)


class SnapshotReceiver:
    """Takes one snapshot at a time.

    install: puts a verified file, which it may keep, in the place of the state. applied: the index of the state.
    """

    def __init__(
        self, directory: Path, install: Callable[[SnapshotFile], Coroutine[Any, Any, None]], applied: Callable[[], int]
    ) -> None:
        self._directory = directory
        self._install = install
        self._applied = applied
        self._busy = False

    async def offer(self, offer: store_pb2.SnapshotOffer) -> int:
        """How many bytes of this snapshot are here; parts of others go. Raises SnapshotRefused, OSError."""
        self._refuse_second()
        if offer.last_index <= self._applied():
            return offer.size_bytes
        part = self._part(offer)
        for other in self._directory.glob(f"*{_PART}"):
            if other != part:
                other.unlink()
        size = part.stat().st_size if part.exists() else 0
        if size > offer.size_bytes:
            part.unlink()
            return 0
        return size

    def _refuse_second(self) -> None:
        if self._busy:
            raise SnapshotRefused("another snapshot is being received")

    def _part(self, offer: store_pb2.SnapshotOffer) -> Path:
        return self._directory / f"snapshot-{offer.last_index:x}-{offer.sha256.hex()}{_PART}"

    async def receive(self, chunks: AsyncIterator[store_pb2.SnapshotChunk]) -> int:
        """Take the rest of an offered snapshot and install it; returns the index it ends with.

        Raises SnapshotRefused, OSError: nothing was installed.
        """
        self._refuse_second()
        self._busy = True
        try:
            first = await anext(chunks, None)
            if first is None or not first.HasField("offer"):
                raise SnapshotRefused("the first chunk must say what is offered")
            offer = first.offer
            if offer.last_index > self._applied():
                await self._take(offer, first.offset, chunks)
            return offer.last_index
        finally:
            self._busy = False

    async def _take(
        self, offer: store_pb2.SnapshotOffer, offset: int, chunks: AsyncIterator[store_pb2.SnapshotChunk]
    ) -> None:
        part = self._part(offer)
        try:
            await self._write(part, offer, offset, chunks)
            await asyncio.to_thread(_verify, part, offer)
            snapshot = SnapshotFile(part, offer.last_index, offer.last_term, offer.size_bytes, offer.sha256)
            await _to_the_end(self._install(snapshot))
        except CorruptionError as damage:
            part.unlink(missing_ok=True)
            raise SnapshotRefused(str(damage)) from damage
        except OSError:
            # A full disk, most likely: the journal needs the room more.
            part.unlink(missing_ok=True)
            raise
        part.unlink(missing_ok=True)

    async def _write(
        self, part: Path, offer: store_pb2.SnapshotOffer, offset: int, chunks: AsyncIterator[store_pb2.SnapshotChunk]
    ) -> None:
        with part.open("ab") as file:
            if offset != file.tell():
                raise SnapshotRefused(f"{file.tell()} bytes are here, the sender goes on at {offset}")
            async for chunk in chunks:
                if chunk.offset != offset or offset + len(chunk.data) > offer.size_bytes:
                    raise SnapshotRefused(f"{len(chunk.data)} bytes for {chunk.offset} came at {offset}")
                # A thread that goes on after the file is closed would write to whatever has its number then.
                await _to_the_end(asyncio.to_thread(_append, file.fileno(), chunk.data))
                offset += len(chunk.data)
            if offset < offer.size_bytes:
                raise SnapshotRefused(f"it ended after {offset} of {offer.size_bytes} bytes")
            await _to_the_end(asyncio.to_thread(os.fsync, file.fileno()))


def _append(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _verify(part: Path, offer: store_pb2.SnapshotOffer) -> None:
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != offer.sha256:
            raise CorruptionError("its checksum is wrong")


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for what must not be cut short, also when we are cancelled, as the call is when the sender goes away."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
