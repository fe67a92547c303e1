"""Members whose data differs are found and named, whoever of them leads."""

import asyncio
from typing import Any

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import SystemClock
from navarch.services.store import commands
from navarch.services.store.backend import MemoryBackend
from navarch.services.store.corruption import CorruptionCheck, differing
from navarch.services.store.errors import CorruptionError, EtcdError
from navarch.services.store.membership import Members
from navarch.services.store.mvcc.hashing import HistoryHash
from navarch.services.store.replication.log import Entry, LogStatus, Member
from navarch.services.store.state_machine import StateMachine

DAMAGED = -1


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        ({1: 7, 2: 7, 3: 7}, []),
        ({1: 7}, []),
        ({1: 7, 2: 7, 3: 8}, [3]),
        ({1: 8, 2: 7, 3: 7}, [1]),
        ({1: 7, 2: 8}, [0]),
        ({1: 7, 2: 8, 3: 9}, [0]),
        ({1: 7, 2: 7, 3: DAMAGED}, [3]),
        ({1: DAMAGED, 2: 7}, [1]),
        ({1: DAMAGED, 2: DAMAGED, 3: DAMAGED}, [1, 2, 3]),
        ({1: 7, 2: 7, 3: 7, 4: 8}, [4]),
        ({1: 7, 2: 7, 4: 7}, []),
    ],
)
def test_the_minority_is_wrong(answers: dict[int, int], wrong: list[int]) -> None:
    """1, 2 and 3 vote, 4 is a learner."""
    assert differing(answers, [1, 2, 3]) == wrong


class Log:
    """Applies at once, on all members."""

    def __init__(self, cluster: "Cluster", member_id: int) -> None:
        self._cluster = cluster
        self._member_id = member_id

    def status(self) -> LogStatus:
        return LogStatus(self._member_id, self._cluster.leader, 1, 0, 0, 0)

    async def read_index(self) -> int:
        return 0

    async def propose(self, command: bytes, *, membership: bool = False) -> None:
        self._cluster.write(commands.decode(command))


class Stub:
    """Calls a member as gRPC would."""

    def __init__(self, check: CorruptionCheck) -> None:
        self._check = check

    async def HashKV(self, request: store_pb2.HashKVRequest, timeout: float) -> store_pb2.HashKVReply:
        try:
            return await self._check.answer(request.revision)
        except CorruptionError as damage:
            raise failed(grpc.StatusCode.DATA_LOSS) from damage
        except EtcdError as refusal:
            raise failed(refusal.code) from refusal


def failed(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "refused")


class Cluster:
    def __init__(self, size: int = 3) -> None:
        members = Members.of(Member(number, f"m{number}") for number in range(1, size + 1))
        self.leader = 1
        self.down: set[int] = set()
        self.backends = {number: MemoryBackend() for number in members.by_id}
        for backend in self.backends.values():
            members.store(backend)
        self.machines = {number: StateMachine(backend, lambda: 0.0) for number, backend in self.backends.items()}
        self.checks = {number: self._check(number) for number in members.by_id}
        self._index = 0

    def _check(self, number: int) -> CorruptionCheck:
        log: Any = Log(self, number)
        return CorruptionCheck(lambda: self.machines[number], log, self.stub, SystemClock())

    def stub(self, peer: int) -> Any:
        return None if peer in self.down else Stub(self.checks[peer])

    def write(self, *requests: Any, only: int = 0) -> None:
        for request in requests:
            self._index += 1
            for number, machine in self.machines.items():
                if only in (0, number):
                    machine.apply([Entry(self._index, 1, commands.encode(request))])

    def damage(self, number: int) -> None:
        """Change a value behind the member's back."""
        backend = self.backends[number]
        packed, record = next(iter(backend.scan(0, 1 << 96)))
        backend.put(packed, record.replace(b"value", b"other"))

    @property
    def alarms(self) -> set[tuple[int, int]]:
        (alarms,) = {frozenset(machine.alarms) for machine in self.machines.values()}
        return set(alarms)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.write(*(rpc_pb2.PutRequest(key=b"/%d" % number, value=b"value") for number in range(3000)))
    return cluster


async def test_equal_members_raise_no_alarm(cluster: Cluster) -> None:
    await cluster.checks[1].compare()
    assert not cluster.alarms


@pytest.mark.parametrize("wrong", [1, 2])
async def test_a_member_that_differs_is_named(cluster: Cluster, wrong: int) -> None:
    cluster.damage(wrong)
    await cluster.checks[1].compare()
    assert cluster.alarms == {(wrong, rpc_pb2.CORRUPT)}
    await cluster.checks[1].compare()


async def test_two_that_differ_leave_everybody_in_doubt(cluster: Cluster) -> None:
    cluster.damage(2)
    cluster.down = {3}
    await cluster.checks[1].compare()
    assert cluster.alarms == {(0, rpc_pb2.CORRUPT)}


@pytest.mark.parametrize("wrong", [1, 2])
async def test_damaged_records_are_damage_whatever_others_say(
    cluster: Cluster, wrong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(packed: int) -> bytes:
        raise CorruptionError("damaged")

    monkeypatch.setattr(cluster.backends[wrong], "get", get)
    await cluster.checks[1].compare()
    assert cluster.alarms == {(wrong, rpc_pb2.CORRUPT)}


async def test_members_that_compacted_differently_are_not_compared(cluster: Cluster) -> None:
    cluster.write(rpc_pb2.PutRequest(key=b"/1", value=b"newer"))
    cluster.write(rpc_pb2.CompactionRequest(revision=100), only=2)
    cluster.damage(2)
    await cluster.checks[1].compare()
    assert not cluster.alarms


async def test_a_member_checks_itself_before_it_serves(cluster: Cluster) -> None:
    await cluster.checks[3].check_start()
    cluster.damage(3)
    with pytest.raises(CorruptionError, match="is not what the other members have"):
        await cluster.checks[3].check_start()
    # With one that agrees on each side a healthy member is not kept from starting.
    await cluster.checks[2].check_start()


async def test_a_member_that_is_ahead_of_the_others_can_start(cluster: Cluster) -> None:
    cluster.write(rpc_pb2.PutRequest(key=b"/1", value=b"newer"), only=3)
    await cluster.checks[3].check_start()


async def test_a_checksum_is_that_of_its_revision_whatever_happens_meanwhile(cluster: Cluster) -> None:
    machine = cluster.machines[1]
    revision = machine.mvcc.revision
    expected = machine.mvcc.hash_at(revision)
    history = HistoryHash(machine.mvcc, revision)
    steps = 0
    while not history.advance(100):
        steps += 1
        cluster.write(rpc_pb2.PutRequest(key=b"/%d" % steps, value=b"newer"))
        cluster.write(rpc_pb2.PutRequest(key=b"/new%d" % steps))
    assert steps == 30
    assert history.value == expected


async def test_a_compaction_meanwhile_begins_the_checksum_anew(cluster: Cluster) -> None:
    mvcc = cluster.machines[1].mvcc
    cluster.write(*(rpc_pb2.PutRequest(key=b"/%d" % number, value=b"newer") for number in range(3000)))
    history = HistoryHash(mvcc, 0)
    assert not history.advance()
    cluster.write(rpc_pb2.CompactionRequest(revision=4000))
    while mvcc.collectable:
        mvcc.collect()
        await asyncio.sleep(0)
    while not history.advance():
        pass
    assert history.compact_revision == 4000
    assert history.value == mvcc.hash_at(mvcc.revision)


async def test_a_compaction_beyond_its_revision_ends_the_checksum(cluster: Cluster) -> None:
    history = HistoryHash(cluster.machines[1].mvcc, 50)
    assert not history.advance()
    cluster.write(rpc_pb2.CompactionRequest(revision=100))
    with pytest.raises(EtcdError, match="compacted"):
        history.advance()
