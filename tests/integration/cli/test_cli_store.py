"""``navarch store`` on members that are processes, and on their files."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from navarch.cli.commands.store import _id
from navarch.cli.errors import UsageError
from navarch.cli.main import run
from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.testing.store_cluster import StoreCluster

BUMP = 1_000_000


async def navarch(*words: str) -> tuple[int, str, str]:
    """Run ``navarch store``. Returns exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "navarch.cli", "store", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def ok(*words: str) -> str:
    code, out, err = await navarch(*words)
    assert (code, err) == (0, "")
    return out


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[StoreCluster]:
    async with StoreCluster(tmp_path / "old", 3, certificates=True) as cluster:
        yield cluster


def flags(cluster: StoreCluster) -> list[str]:
    """How to reach a cluster."""
    names = {"--cacert": "--ca", "--cert": "--cert", "--key": "--key"}
    files = [word.partition("=") for word in cluster.client_files()]
    return [f"--endpoints={cluster.endpoints}", *(f"{names[flag]}={path}" for flag, _, path in files)]


async def put(cluster: StoreCluster, key: bytes) -> int:
    async with cluster.channel(await cluster.leader()) as connection:
        answer = await rpc_pb2_grpc.KVStub(connection).Put(rpc_pb2.PutRequest(key=key, value=key), timeout=10)
    return answer.header.revision


async def test_status_of_all_members(cluster: StoreCluster) -> None:
    ids = await cluster.ids()
    out = await ok("status", *flags(cluster))
    header, *rows = out.splitlines()
    assert header.split("   ")[0] == "ENDPOINT"
    assert {f"{member_id:x}" for member_id in ids.values()} == {row.split()[1] for row in rows}
    assert sorted(row.split()[2] for row in rows) == ["m1", "m2", "m3"]
    assert sum(" yes " in row for row in rows) == 1
    await cluster.kill(cluster["m2"])
    code, out, _ = await navarch("status", *flags(cluster))
    assert code == 1
    assert re.search(rf"{re.escape(cluster['m2'].client_url)} .*(refused|in time)", out)


async def test_members_come_and_go(cluster: StoreCluster) -> None:
    reach = flags(cluster)
    out = await ok("member", "add", "m4", "--learner", "--peer-urls=https://127.0.0.1:1", *reach)
    match = re.search(r"Added member (\w+)", out)
    assert match
    assert "--name=m4 --initial-cluster-state=existing" in out
    assert "m4=https://127.0.0.1:1" in out
    assert "m1=" in out
    row = next(row for row in (await ok("member", "list", *reach)).splitlines() if match[1] in row)
    assert row.split() == [match[1], "unstarted", "https://127.0.0.1:1", "yes"]
    code, _, err = await navarch("member", "promote", match[1], *reach)
    assert code == 1
    assert "can only promote a learner member which is in sync with leader" in err
    await ok("member", "update", match[1], "--peer-urls=https://127.0.0.1:2", *reach)
    assert "https://127.0.0.1:2" in await ok("member", "list", *reach)
    await ok("member", "remove", match[1], *reach)
    assert match[1] not in await ok("member", "list", *reach)
    code, _, err = await navarch("member", "remove", match[1], *reach)
    assert (code, err.partition(": etcdserver")[2].strip()) == (1, ": member not found")


async def test_a_snapshot_becomes_a_new_cluster(cluster: StoreCluster, tmp_path: Path) -> None:
    for number in range(20):
        revision = await put(cluster, b"/%d" % number)
    old = await cluster.listed()
    snapshot = tmp_path / "snapshot"
    assert "Saved" in await ok("snapshot", str(snapshot), *flags(cluster))
    assert snapshot.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))
    assert f"revision {revision}, 20 records" in await ok("verify", str(snapshot))

    new = StoreCluster(tmp_path / "new", 3, token="restored")
    urls = {member.name: member.peer_url for member in new.members.values()}
    for name in urls:
        await ok(
            *("restore", str(snapshot), f"--data-dir={new[name].directory}", f"--name={name}"),
            f"--initial-cluster={','.join(f'{other}={urls[other]}' for other in urls)}",
            "--initial-cluster-token=restored",
            *(f"--bump-revision={BUMP}", "--mark-compacted"),
        )
        assert "applied up to entry" in await ok("verify", str(new[name].directory))
    async with new:
        listed = await new.listed()
        assert listed.header.cluster_id != old.header.cluster_id
        assert {member.ID for member in listed.members}.isdisjoint(member.ID for member in old.members)
        assert await put(new, b"/new") == revision + BUMP + 1
        async with new.channel(await new.leader()) as connection:
            kv = rpc_pb2_grpc.KVStub(connection)
            kept = await kv.Range(rpc_pb2.RangeRequest(key=b"/", range_end=b"0"), timeout=10)
            assert kept.count == 21
            create = rpc_pb2.WatchCreateRequest(key=b"/1", start_revision=5)
            requests = iter([rpc_pb2.WatchRequest(create_request=create)])
            watch: Any = rpc_pb2_grpc.WatchStub(connection).Watch(requests, timeout=10)
            await watch.read()
            ended = await watch.read()
            assert (ended.canceled, ended.compact_revision) == (True, revision + BUMP)
        # One that joins later is sent what was restored, not only what was written since.
        late = await new.add_member()
        async with new.channel(late) as connection:
            kv = rpc_pb2_grpc.KVStub(connection)
            assert (await kv.Range(rpc_pb2.RangeRequest(key=b"/", range_end=b"0"), timeout=10)).count == 21


async def test_damage_is_named(cluster: StoreCluster, tmp_path: Path) -> None:
    for number in range(20):
        await put(cluster, b"/%d" % number)
    snapshot = tmp_path / "snapshot"
    await ok("snapshot", str(snapshot), *flags(cluster))
    content = bytearray(snapshot.read_bytes())
    content[9000] ^= 1
    snapshot.write_bytes(content)
    code, _, err = await navarch("verify", str(snapshot))
    assert code == 1
    assert f"error: {snapshot}: its SHA-256 is not that of its" in err
    running = cluster["m1"].directory
    code, _, err = await navarch("verify", str(running))
    assert (code, "in use by a running member" in err) == (1, True)


async def test_another_authority_is_refused(cluster: StoreCluster, tmp_path: Path) -> None:
    async with StoreCluster(tmp_path / "other", 1, certificates=True) as other:
        code, _, err = await navarch("member", "list", *flags(other)[1:], f"--endpoints={cluster.endpoints}")
    assert code == 1
    assert err.startswith("error: https://")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "--endpoints=127.0.0.1:1", "--ca=/x"], "--ca, --cert and --key go together"),
        (["status", "--endpoints=https://127.0.0.1:1"], "https needs --ca, --cert and --key"),
        (["status", "--data-dir=/nowhere"], "no cluster in /nowhere"),
        (["snapshot", "/nowhere/file", "--endpoints=127.0.0.1:1"], "/nowhere is no directory"),
        (["verify", "/nowhere"], "/nowhere does not exist"),
        (["member", "remove", "nobody", "--endpoints=127.0.0.1:1"], "'nobody' is not the id of a member"),
        (["member", "list", "--endpoints=127.0.0.1:1"], "127.0.0.1:1: "),
        (["restore", "x", "--data-dir=x"], "Missing option"),
        (
            ["restore", "x", "--data-dir=x", "--initial-cluster=a=http://h:1", "--bump-revision=1"],
            "--bump-revision and --mark-compacted go together",
        ),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", *words]) != 0
    told = capsys.readouterr().err
    assert message in told
    assert "bug" not in told


def test_ids_are_hexadecimal() -> None:
    assert _id("ff") == 255
    with pytest.raises(UsageError):
        _id("m1")
