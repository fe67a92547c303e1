"""Three members in processes of their own: they agree, lose a leader, take members in and send them away."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import channel
from navarch.services.store.config import Config
from navarch.services.store.service import StoreService
from navarch.testing.store_cluster import Member, StoreCluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[StoreCluster]:
    async with StoreCluster(tmp_path) as cluster:
        yield cluster


async def put(cluster: StoreCluster, member: Member, key: bytes, value: bytes = b"") -> int:
    """The revision of a write. An election in its middle leaves open whether it was done: it is done once more."""
    async with cluster.channel(member) as connection:
        while True:
            try:
                answer = await rpc_pb2_grpc.KVStub(connection).Put(rpc_pb2.PutRequest(key=key, value=value), timeout=10)
                return answer.header.revision
            except grpc.aio.AioRpcError as failure:
                if failure.details() != "etcdserver: leader changed":
                    raise


async def get(cluster: StoreCluster, member: Member, key: bytes, *, serializable: bool = False) -> bytes | None:
    async with cluster.channel(member) as connection:
        request = rpc_pb2.RangeRequest(key=key, serializable=serializable)
        answer = await rpc_pb2_grpc.KVStub(connection).Range(request, timeout=10)
        return answer.kvs[0].value if answer.kvs else None


async def hashes(cluster: StoreCluster, revision: int) -> set[int]:
    """The members' checksums at a revision that all have reached."""
    found = set()
    for member in cluster.running:
        await get(cluster, member, b"barrier")
        async with cluster.channel(member) as connection:
            stub = rpc_pb2_grpc.MaintenanceStub(connection)
            found.add((await stub.HashKV(rpc_pb2.HashKVRequest(revision=revision), timeout=10)).hash)
    return found


async def change(cluster: StoreCluster, member: Member, call: str, **fields):
    async with cluster.channel(member) as connection:
        request = getattr(rpc_pb2, f"{call}Request")(**fields)
        return await getattr(rpc_pb2_grpc.ClusterStub(connection), call)(request, timeout=15)


async def caught_up(cluster: StoreCluster, member: Member, key: bytes, value: bytes) -> None:
    async with asyncio.timeout(30):
        while await get(cluster, member, key, serializable=True) != value:
            await asyncio.sleep(0.05)


def followers(cluster: StoreCluster, leader: Member) -> list[Member]:
    return [member for member in cluster.running if member is not leader]


@pytest.mark.parametrize("certificates", [False, True], ids=["plain", "tls"])
async def test_what_is_put_at_any_member_is_read_at_every_other(tmp_path: Path, certificates: bool) -> None:
    async with StoreCluster(tmp_path, certificates=certificates) as cluster:
        for number, member in enumerate(cluster.members.values()):
            value = b"%d" % number
            revision = await put(cluster, member, b"a", value)
            assert [await get(cluster, other, b"a") for other in cluster.running] == [value] * 3
        assert len(await hashes(cluster, revision)) == 1
        listed = (await cluster.listed()).members
        assert {(known.name, *known.clientURLs, *known.peerURLs) for known in listed} == {
            (member.name, member.client_url, member.peer_url) for member in cluster.members.values()
        }


async def test_after_the_leaders_death_the_next_write_works(cluster: StoreCluster) -> None:
    leader = await cluster.leader()
    await put(cluster, leader, b"a", b"before")
    await cluster.kill(leader)
    survivor, _ = followers(cluster, leader)
    successor = await cluster.leader()
    assert successor is not leader
    assert await get(cluster, survivor, b"a") == b"before"
    revision = await put(cluster, survivor, b"a", b"after")
    await cluster.start(leader)
    await caught_up(cluster, leader, b"a", b"after")
    assert len(await hashes(cluster, revision)) == 1


async def test_a_stopped_leader_hands_over(cluster: StoreCluster) -> None:
    leader = await cluster.leader()
    term = (await cluster.status(leader)).raftTerm
    assert await cluster.stop(leader) == 0
    successor = await cluster.leader()
    assert (await cluster.status(successor)).raftTerm == term + 1
    await put(cluster, successor, b"a")


async def test_without_a_majority_writes_and_linearizable_reads_are_refused(cluster: StoreCluster) -> None:
    leader = await cluster.leader()
    await put(cluster, leader, b"a", b"1")
    for member in followers(cluster, leader):
        await cluster.kill(member)
    for act in (put(cluster, leader, b"a", b"2"), get(cluster, leader, b"a")):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await act
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        assert refusal.value.details().startswith("etcdserver: ")
    assert await get(cluster, leader, b"a", serializable=True) == b"1"


async def test_all_members_come_back_as_who_they_were(cluster: StoreCluster) -> None:
    await put(cluster, await cluster.leader(), b"a", b"kept")
    before = await cluster.ids()
    for member in cluster.members.values():
        await cluster.kill(member)
    await asyncio.gather(*map(cluster.start, cluster.members.values()))
    leader = await cluster.leader()
    assert await get(cluster, leader, b"a") == b"kept"
    assert await cluster.ids() == before
    assert len(before) == 3


async def test_a_learner_is_added_catches_up_is_promoted_and_removed(cluster: StoreCluster) -> None:
    leader = await cluster.leader()
    for number in range(50):
        await put(cluster, leader, b"a", b"%d" % number)
    learner = await cluster.add_member(learner=True)
    await caught_up(cluster, learner, b"a", b"49")
    for refused in (put(cluster, learner, b"a"), get(cluster, learner, b"a")):
        with pytest.raises(grpc.aio.AioRpcError, match="rpc not supported for learner"):
            await refused
    assert (await cluster.status(learner)).isLearner
    with pytest.raises(grpc.aio.AioRpcError, match="too many learner members in cluster"):
        await change(cluster, leader, "MemberAdd", peerURLs=["http://127.0.0.9:1"], isLearner=True)
    ids = await cluster.ids()
    async with asyncio.timeout(30):
        while "m4" not in ids:
            await asyncio.sleep(0.05)
            ids = await cluster.ids()
    promoted = await change(cluster, followers(cluster, leader)[0], "MemberPromote", ID=ids["m4"])
    assert not any(member.isLearner for member in promoted.members)
    await caught_up_voter(cluster, learner)
    with pytest.raises(grpc.aio.AioRpcError, match='can only promote a learner member$|learner member"'):
        await change(cluster, leader, "MemberPromote", ID=ids["m4"])
    await cluster.remove_member(learner)
    assert "m4" not in await cluster.ids()
    assert "has been removed from its cluster" in learner.log()
    await put(cluster, leader, b"a", b"again three")


async def caught_up_voter(cluster: StoreCluster, member: Member) -> None:
    """Until a promoted learner has heard of it."""
    async with asyncio.timeout(30):
        while True:
            try:
                await put(cluster, member, b"b", b"from the new voter")
                return
            except grpc.aio.AioRpcError as refusal:
                assert "learner" in refusal.details()
                await asyncio.sleep(0.05)


async def test_a_removed_leader_hands_over_stops_and_does_not_come_back(cluster: StoreCluster) -> None:
    leader = await cluster.leader()
    await put(cluster, leader, b"a", b"kept")
    await cluster.remove_member(leader)
    assert leader.process.returncode == 1
    successor = await cluster.leader()
    assert await get(cluster, successor, b"a") == b"kept"
    await put(cluster, successor, b"a", b"two of two")
    await cluster.spawn(leader)
    assert await cluster.ended(leader) == 1
    assert "has been removed from its cluster" in leader.log()
    await put(cluster, successor, b"a", b"undisturbed")


async def test_a_member_is_replaced(cluster: StoreCluster) -> None:
    lost = followers(cluster, await cluster.leader())[0]
    await put(cluster, lost, b"a", b"kept")
    await cluster.kill(lost)
    cluster.wipe(lost)
    await cluster.spawn(lost)
    assert await cluster.ended(lost) == 1
    assert re.search("has been a member of the running cluster .* and its data is gone", lost.log())
    await cluster.remove_member(lost)
    new = await cluster.add_member()
    await caught_up(cluster, new, b"a", b"kept")
    assert len(await hashes(cluster, 0)) == 1


async def test_a_member_finds_the_others_that_moved_while_it_was_away(cluster: StoreCluster) -> None:
    away, *others = cluster.members.values()
    await cluster.kill(away)
    for member in others:
        await cluster.move_member(member)
    await put(cluster, await cluster.leader(), b"a", b"moved")
    await cluster.start(away)
    await caught_up(cluster, away, b"a", b"moved")
    assert await get(cluster, away, b"a") == b"moved"


async def test_what_cannot_be_is_refused_alike_by_leader_and_follower(cluster: StoreCluster) -> None:
    leader, ids = await cluster.leader(), await cluster.ids()
    taken = leader.peer_url
    for call, fields, code, message in (
        ("MemberAdd", {"peerURLs": []}, "INVALID_ARGUMENT", "given member URLs are invalid"),
        ("MemberAdd", {"peerURLs": ["nonsense"]}, "INVALID_ARGUMENT", "given member URLs are invalid"),
        ("MemberAdd", {"peerURLs": [taken]}, "FAILED_PRECONDITION", "Peer URLs already exists"),
        ("MemberUpdate", {"ID": 1, "peerURLs": ["http://127.0.0.9:1"]}, "NOT_FOUND", "member not found"),
        ("MemberUpdate", {"ID": ids["m1"], "peerURLs": []}, "INVALID_ARGUMENT", "given member URLs are invalid"),
        ("MemberRemove", {"ID": 1}, "NOT_FOUND", "member not found"),
        ("MemberPromote", {"ID": 1}, "NOT_FOUND", "member not found"),
        ("MemberPromote", {"ID": ids["m1"]}, "FAILED_PRECONDITION", "can only promote a learner member"),
    ):
        for member in (leader, followers(cluster, leader)[0]):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await change(cluster, member, call, **fields)
            assert (refusal.value.code().name, refusal.value.details()) == (code, f"etcdserver: {message}")


async def test_one_member_grows_to_three(tmp_path: Path) -> None:
    async with StoreCluster(tmp_path, size=1) as cluster:
        first = await cluster.leader()
        await put(cluster, first, b"a", b"kept")
        for _ in range(2):
            new = await cluster.add_member()
            await caught_up(cluster, new, b"a", b"kept")
            async with asyncio.timeout(30):
                while new.name not in await cluster.ids():
                    await asyncio.sleep(0.05)
        await cluster.kill(first)
        await put(cluster, new, b"a", b"without the first")


async def test_a_lone_member_without_peer_address_must_get_one_first(tmp_path: Path) -> None:
    host = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
    alone = StoreService(Config(data_dir=tmp_path / "a", name="a"))
    await alone.start()
    async with channel(alone.address, None) as connection:
        with pytest.raises(grpc.aio.AioRpcError, match="restart it with --listen-peer"):
            await rpc_pb2_grpc.ClusterStub(connection).MemberAdd(
                rpc_pb2.MemberAddRequest(peerURLs=[f"http://{host}.2:1"])
            )
    await alone.stop()
    reachable = StoreService(Config(data_dir=tmp_path / "a", name="a", listen_peer=f"{host}.1:2380"))
    joining = StoreService(
        Config(
            data_dir=tmp_path / "b",
            name="b",
            listen_peer=f"{host}.2:2380",
            initial_cluster={"a": (f"http://{host}.1:2380",), "b": (f"http://{host}.2:2380",)},
            initial_existing=True,
        )
    )
    try:
        await reachable.start()
        async with channel(reachable.address, None) as connection:
            cluster = rpc_pb2_grpc.ClusterStub(connection)
            async with asyncio.timeout(30):
                while not (await cluster.MemberList(rpc_pb2.MemberListRequest())).members[0].peerURLs:
                    await asyncio.sleep(0.05)
            added = await cluster.MemberAdd(rpc_pb2.MemberAddRequest(peerURLs=[f"http://{host}.2:2380"]))
            await joining.start()
            answer = await rpc_pb2_grpc.KVStub(connection).Put(rpc_pb2.PutRequest(key=b"a"), timeout=20)
            assert answer.header.cluster_id == added.header.cluster_id
    finally:
        await joining.stop()
        await reachable.stop()


async def test_who_is_not_expected_cannot_join(cluster: StoreCluster) -> None:
    stranger = cluster.place()
    stranger.initial = cluster.initial(cluster.members.values(), "existing")
    await cluster.spawn(stranger)
    assert await cluster.ended(stranger) == 1
    assert "add it first (member add)" in stranger.log()
    assert not (stranger.directory / "identity").exists()


async def test_a_wrong_token_is_refused(cluster: StoreCluster) -> None:
    new = await cluster.add_member(learner=True, start=False)
    right = new.initial
    new.initial = tuple("other" if word == cluster.token else word for word in right)
    await cluster.spawn(new)
    assert await cluster.ended(new) == 1
    assert "token" in new.log()
    new.initial = right
    await cluster.start(new)
