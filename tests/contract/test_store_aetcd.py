"""aetcd, a client of other people's making, on our store.

It registers etcd's messages under the same names as our stubs, so that both cannot be in one process: the
client's side of this test is a script that runs alone.
"""

import subprocess
import sys
from pathlib import Path

from navarch.services.store.config import Config
from navarch.services.store.service import StoreService

SCRIPT = r"""
import asyncio, io, sys
import aetcd

async def main(host, port):
    async with aetcd.Client(host, int(port), timeout=15) as client:
        put = await client.put(b"/k/a", b"1")
        assert put.header.revision == 2, put.header
        got = await client.get(b"/k/a")
        assert (got.value, got.mod_revision, got.version) == (b"1", 2, 1)
        assert await client.get(b"/k/none") is None
        for name in (b"b", b"c"):
            await client.put(b"/k/" + name, name)
        found = [kv.key async for kv in aiter_of(await client.get_prefix(b"/k/", sort_order="descend"))]
        assert found == [b"/k/c", b"/k/b", b"/k/a"], found
        assert await client.replace(b"/k/a", b"1", b"2")
        assert not await client.replace(b"/k/a", b"1", b"3")

        succeeded, responses = await client.transaction(
            compare=[client.transactions.value(b"/k/a") == b"2", client.transactions.version(b"/k/zz") == 0],
            success=[client.transactions.put(b"/k/t", b"yes"), client.transactions.get(b"/k/t")],
            failure=[client.transactions.delete(b"/k/a")],
        )
        assert succeeded and responses[1][0][0] == b"yes", responses

        watch = await client.watch_prefix(b"/k/", start_revision=2, prev_kv=True)
        seen = []
        await client.delete(b"/k/a")
        async for event in watch:
            seen.append((event.kind, event.kv.key, event.kv.mod_revision))
            if event.kind == aetcd.EventKind.DELETE:
                assert event.prev_kv.value == b"2"
                break
        await watch.cancel()
        assert [revision for _, _, revision in seen] == list(range(2, 2 + len(seen))), seen

        lease = await client.lease(60)
        await client.put(b"/leased", b"x", lease=lease)
        assert 55 <= await lease.remaining_ttl() <= 60
        assert await lease.keys() == [b"/leased"]
        await lease.refresh()
        await lease.revoke()
        assert await client.get(b"/leased") is None

        async with client.lock(b"mine", ttl=10):
            pass
        status = await client.status()
        assert status.version.startswith("3.5."), status.version
        assert [member.name async for member in client.members()] == ["default"]
        await client.compact(4)
        try:
            async for _ in await client.watch(b"/k/a", start_revision=2):
                raise AssertionError("an event of compacted history")
        except aetcd.RevisionCompactedError as failure:
            assert failure.compacted_revision == 4
        await client.defragment()
        assert isinstance(await client.hash(), int)
    print("passed")

async def aiter_of(items):
    for item in items:
        yield item

asyncio.run(main(*sys.argv[1:]))
"""


async def run(address: str) -> None:
    import asyncio

    host, port = address.rsplit(":", 1)
    command = (sys.executable, "-W", "ignore", "-c", SCRIPT, host, port)
    client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = await asyncio.wait_for(client.communicate(), 60)
    assert (client.returncode, output.decode().strip()) == (0, "passed"), errors.decode()


async def test_aetcd_on_a_store_with_a_disk(tmp_path: Path) -> None:
    service = StoreService(Config(data_dir=tmp_path / "store"))
    await service.start()
    try:
        await run(service.address)
    finally:
        await service.stop()


async def test_aetcd_on_a_store_in_memory() -> None:
    service = StoreService(Config())
    await service.start()
    try:
        await run(service.address)
    finally:
        await service.stop()
