"""A disk that is full at any moment, and damage in any file: nothing acknowledged is lost, and nothing silently."""

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import channel
from navarch.services.store.config import Config
from navarch.services.store.errors import CorruptionError
from navarch.services.store.service import StoreService

DISK_BYTES = 40 << 20
QUOTA_BYTES = 1 << 30


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "store-test", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def fill(disk: Path, leave_bytes: int) -> None:
    """Take the free space of a disk away, but for some."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "filler").write_bytes(bytes(max(0, free - leave_bytes)))


def enlarge(disk: Path) -> None:
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)


async def opened(directory: Path) -> StoreService:
    service = StoreService(Config(data_dir=directory, quota_bytes=QUOTA_BYTES))
    try:
        await service.start()
    except BaseException:
        await service.stop()
        raise
    return service


async def write_until_refused(service: StoreService, values: dict[bytes, bytes], size: int, limit: int) -> None:
    rng = random.Random(size)
    async with channel(service.address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        with contextlib.suppress(grpc.aio.AioRpcError):
            for number in range(limit):
                key, value = b"/%d/%d" % (size, number), rng.randbytes(size)
                await kv.Put(rpc_pb2.PutRequest(key=key, value=value), timeout=10)
                values[key] = value


async def read_all(service: StoreService) -> dict[bytes, bytes]:
    async with channel(service.address, None) as connection:
        request = rpc_pb2.RangeRequest(key=b"/", range_end=b"0")
        return {kv.key: kv.value for kv in (await rpc_pb2_grpc.KVStub(connection).Range(request, timeout=10)).kvs}


@pytest.mark.parametrize("free_kb", [0, 4, 100, 3000, 4100, 8200, 9000, 20000])
async def test_a_full_disk_loses_nothing_that_was_acknowledged(disk: Path, free_kb: int) -> None:
    fatal: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: fatal.append(context))
    values: dict[bytes, bytes] = {}
    service = await opened(disk / "store")
    await write_until_refused(service, values, 1000, 50)
    fill(disk, free_kb << 10)
    await write_until_refused(service, values, 300_000, 200)
    assert fatal, "the process ends, and its supervisor reports it"
    await service.stop()
    # As long as it is full a start may be refused, by the reason; it must not make anything worse.
    for _ in range(2):
        with contextlib.suppress(OSError):
            service = await opened(disk / "store")
            assert (await read_all(service)).items() >= values.items()
            await service.stop()
    enlarge(disk)
    service = await opened(disk / "store")
    # A write that was not acknowledged may be there or not.
    assert (await read_all(service)).items() >= values.items()
    await write_until_refused(service, values, 2000, 10)
    await service.stop()
    service = await opened(disk / "store")
    assert (await read_all(service)).items() >= values.items()
    await service.stop()


async def test_damage_anywhere_in_the_data_is_named_or_harmless(tmp_path: Path) -> None:
    rng = random.Random(7)
    values: dict[bytes, bytes] = {}
    directory = tmp_path / "store"
    service = await opened(directory)
    await write_until_refused(service, values, 3000, 100)
    await service.stop()
    data = directory / "data.mdb"
    intact = data.read_bytes()
    refusals: list[str] = []
    for _ in range(60):
        damaged = bytearray(intact)
        position = rng.randrange(len(intact))
        damaged[position : position + 8] = rng.randbytes(len(damaged[position : position + 8]))
        data.write_bytes(damaged)
        try:
            service = await opened(directory)
        except CorruptionError as refusal:
            refusals.append(str(refusal))
            continue
        try:
            assert (await read_all(service)).items() == values.items()
        except grpc.aio.AioRpcError as refusal:
            refusals.append(f"{data} {refusal.code().name}")
        finally:
            await service.stop()
    assert len(refusals) > 20
    assert [each for each in refusals if str(data) not in each] == []
