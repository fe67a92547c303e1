"""Debian's etcdctl against three members: what an administrator of etcd does works the same here."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from navarch.testing.store_cluster import Member, StoreCluster


class Etcdctl:
    """Runs etcdctl at one member or at all."""

    def __init__(self, cluster: StoreCluster, *members: Member) -> None:
        self._cluster = cluster
        self.endpoints = ",".join(member.client_url for member in members) or cluster.endpoints

    def command(self, *arguments: str) -> list[str]:
        files = self._cluster.client_files()
        return ["etcdctl", "--endpoints", self.endpoints, "--command-timeout=15s", *files, *arguments]

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What it prints; "refused: ..." when it fails."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        if process.returncode:
            return "refused: " + (err.decode().strip().splitlines() or [""])[-1]
        return out.decode()

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self.command(*arguments), stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, "ETCDCTL_API": "3"}
        )


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreCluster]:
    async with StoreCluster(tmp_path, certificates=request.param) as cluster:
        yield cluster


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[StoreCluster]:
    async with StoreCluster(tmp_path) as cluster:
        yield cluster


async def test_keys_transactions_leases_and_history(cluster: StoreCluster) -> None:
    at = [Etcdctl(cluster, member) for member in cluster.members.values()]
    assert await at[0]("put", "a", "1") == "OK\n"
    assert await at[1]("get", "a") == "a\n1\n"
    assert await at[1]("put", "a", "2", "--prev-kv") == "OK\na\n1\n"
    assert await at[2]("get", "a", "--rev=2") == "a\n1\n"
    assert await at[2]("txn", stdin='value("a") = "2"\n\nput t yes\n\nput t no\n\n') == "SUCCESS\n\nOK\n"
    assert await at[0]("get", "t") == "t\nyes\n"
    assert await at[1]("del", "a") == "1\n"
    granted = re.search(r"lease (\w+) granted", await at[2]("lease", "grant", "60"))
    assert granted
    lease = granted[1]
    assert await at[0]("put", "leased", "1", f"--lease={lease}") == "OK\n"
    for one in at:
        assert lease in await one("lease", "list")
        assert re.search(r"granted with TTL\(60s\), remaining\(\d+s\)", await one("lease", "timetolive", lease))
        assert "keepalived with TTL(60)" in await one("lease", "keep-alive", "--once", lease)
    assert "revoked" in await at[1]("lease", "revoke", lease)
    assert [await one("get", "leased") for one in at] == [""] * 3
    assert "compacted revision 5" in await at[2]("compaction", "5")
    for one in at:
        assert "required revision has been compacted" in await one("get", "a", "--rev=3")


async def test_watches_at_every_member_see_what_is_put_at_any(cluster: StoreCluster) -> None:
    at = [Etcdctl(cluster, member) for member in cluster.members.values()]
    await at[0]("put", "w0", "first")
    watches = [await one.start("watch", "", "--prefix", "--rev=2") for one in at]
    for number, one in enumerate(at):
        await one("put", f"w{number}", "value")
    expected = "PUT\nw0\nfirst\n" + "".join(f"PUT\nw{number}\nvalue\n" for number in range(3))
    for watch in watches:
        seen = await asyncio.wait_for(watch.stdout.readexactly(len(expected)), 30)
        assert seen.decode() == expected
        watch.terminate()
        await watch.communicate()


async def test_status_health_hashes_and_care(cluster: StoreCluster, tmp_path: Path) -> None:
    everywhere, leader = Etcdctl(cluster), await cluster.leader()
    for number in range(20):
        await everywhere("put", "a", str(number))
    listed = (await everywhere("member", "list")).splitlines()
    assert {tuple(line.split(", ")[1:]) for line in listed} == {
        ("started", member.name, member.peer_url, member.client_url, "false") for member in cluster.members.values()
    }
    for scope in ([], ["--cluster"]):
        health = json.loads(await everywhere("endpoint", "health", *scope, "-w", "json"))
        assert [one["health"] for one in health] == [True] * 3
        status = json.loads(await everywhere("endpoint", "status", *scope, "-w", "json"))
        leaders = {one["Status"]["leader"] for one in status}
        assert leaders == {(await cluster.ids())[leader.name]}
        assert len({one["Status"]["raftTerm"] for one in status}) == 1
        hashed = json.loads(await everywhere("endpoint", "hashkv", *scope, "-w", "json"))
        assert len({one["HashKV"]["hash"] for one in hashed}) == 1
        assert len(hashed) == 3
    assert (await everywhere("defrag", "--cluster")).count("Finished defragmenting") == 3
    assert "Snapshot saved" in await Etcdctl(cluster, leader)("snapshot", "save", str(tmp_path / "saved"))
    assert (tmp_path / "saved").stat().st_size > 0
    assert await everywhere("alarm", "list") == ""
    assert await everywhere("alarm", "disarm") == ""
    assert await everywhere("get", "a") == "a\n19\n"


async def test_move_leader(plain: StoreCluster) -> None:
    leader, ids = await plain.leader(), await plain.ids()
    target, other = (member for member in plain.members.values() if member is not leader)
    moved = await Etcdctl(plain)("move-leader", f"{ids[target.name]:x}")
    assert "Leadership transferred" in moved
    assert await plain.leader() is target
    assert "no leader endpoint" in await Etcdctl(plain, other)("move-leader", f"{ids[other.name]:x}")
    refused = await Etcdctl(plain, target)("move-leader", "1234")
    assert "etcdserver: bad leader transferee" in refused
    assert await Etcdctl(plain, other)("put", "a", "1") == "OK\n"


async def test_members_are_added_updated_and_removed_at_any_member(plain: StoreCluster) -> None:
    leader = await plain.leader()
    for through in plain.running:
        etcdctl = Etcdctl(plain, through)
        duplicate = await etcdctl("member", "add", "other", f"--peer-urls={leader.peer_url}")
        assert "etcdserver: Peer URLs already exists" in duplicate
        new = plain.place()
        added = await etcdctl("member", "add", new.name, f"--peer-urls={new.peer_url}")
        assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in added
        initial = re.search(r'ETCD_INITIAL_CLUSTER="(.*)"', added)[1]
        assert sorted(initial.split(",")) == sorted(f"{m.name}={m.peer_url}" for m in plain.members.values())
        member_id = re.search(r"Member\s+(\w+) added", added)[1]
        assert f"{member_id}, unstarted, , {new.peer_url}, , false" in await etcdctl("member", "list")
        new.initial = ("--initial-cluster", initial, "--initial-cluster-state", "existing")
        await plain.start(new)
        async with asyncio.timeout(30):
            while f"{member_id}, started, {new.name}" not in await etcdctl("member", "list"):
                await asyncio.sleep(0.05)
        other_url = new.peer_url.replace("2380", "2390")
        assert "updated in cluster" in await etcdctl("member", "update", member_id, f"--peer-urls={other_url}")
        assert other_url in await etcdctl("member", "list")
        assert "removed from cluster" in await etcdctl("member", "remove", member_id)
        assert member_id not in await etcdctl("member", "list")
        assert await plain.ended(new) == 1
        del plain.members[new.name]
        assert "etcdserver: member not found" in await etcdctl("member", "remove", member_id)
    assert await plain.leader() is leader


async def test_a_learner_is_promoted(plain: StoreCluster) -> None:
    etcdctl = Etcdctl(plain, await plain.leader())
    ids = await plain.ids()
    assert "can only promote a learner member" in await etcdctl("member", "promote", f"{min(ids.values()):x}")
    learner = await plain.add_member(learner=True, start=False)
    line = next(line for line in (await etcdctl("member", "list")).splitlines() if learner.peer_url in line)
    learner_id = line.split(",")[0]
    assert line.endswith("true")
    assert "in sync with leader" in await etcdctl("member", "promote", learner_id)
    await plain.start(learner)
    async with asyncio.timeout(30):
        while "promoted in cluster" not in (answer := await etcdctl("member", "promote", learner_id)):
            assert "in sync with leader" in answer
            await asyncio.sleep(0.05)
    assert "true" not in await etcdctl("member", "list")


async def test_the_last_members_cannot_all_go(plain: StoreCluster) -> None:
    leader, ids = await plain.leader(), await plain.ids()
    down, up = (member for member in plain.members.values() if member is not leader)
    await plain.kill(down)
    etcdctl = Etcdctl(plain, leader)
    # Until the leader has noticed, another refusal comes first.
    async with asyncio.timeout(30):
        while "Peer URLs already exists" in (
            answer := await etcdctl("member", "add", "m9", f"--peer-urls={up.peer_url}")
        ):
            await asyncio.sleep(0.05)
    assert "etcdserver: unhealthy cluster" in answer
    # One of three is down: another may not go, the one that is down may.
    assert "etcdserver: unhealthy cluster" in await etcdctl("member", "remove", f"{ids[up.name]:x}")
    assert "removed from cluster" in await etcdctl("member", "remove", f"{ids[down.name]:x}")
