"""CPUs of containers' own: which are taken together, who gets which, and what a kubelet that starts finds on disk."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.core import cpu_checkpoint
from navarch.services.kubelet.core.cpu_lists import read_cpus, write_cpus
from navarch.services.kubelet.core.cpu_topology import Cpu, NotEnoughCpus, Topology
from navarch.services.kubelet.core.devices import Devices
from navarch.services.kubelet.core.exclusive_cpus import (
    CpuRules,
    ExclusiveCpus,
    InvalidCpuState,
    exclusive_cpus,
    reserved_cpus,
)
from navarch.services.kubelet.core.observed import RUNNING, Container
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.cpus import CpuManager
from navarch.services.kubelet.node.cpu_options import CpuOptions
from navarch.services.kubelet.node.host import read_topology
from navarch.services.kubelet.plugins.device_sockets import pod_resources
from navarch.services.kubelet.runtime import RuntimeFailure

from .conftest import a_pod

# Two threads a core, the second of each in the upper half: on one socket, and on two that are NUMA nodes too.
ONE_SOCKET = Topology(Cpu(id_, id_ % 4) for id_ in range(8))
TWO_SOCKETS = Topology(Cpu(id_, id_ % 8, id_ % 8 // 4, id_ % 8 // 4) for id_ in range(16))
FLAT = Topology(Cpu(id_, id_) for id_ in range(4))


def guaranteed(name: str, cpu: str, *init: tuple[str, str], **more: Any) -> corev1.Pod:
    """init: the requests of init containers, and how they restart."""

    def container(name: str, cpu: str, **more: Any) -> dict[str, Any]:
        sizes = {"cpu": cpu, "memory": "1Mi"}
        return {"name": name, "image": "i", "resources": {"requests": sizes, "limits": sizes}, **more}

    before = [
        container(f"init-{index}", each, **({"restartPolicy": policy} if policy else {}))
        for index, (each, policy) in enumerate(init)
    ]
    return a_pod(name, containers=[container("main", cpu)], initContainers=before, **more)


def some(topology: Topology = ONE_SOCKET, reserved: str = "0", **rules: bool) -> ExclusiveCpus:
    return ExclusiveCpus(topology, CpuRules(read_cpus(reserved), **rules))


@pytest.mark.parametrize(("text", "cpus"), [("", set()), ("0", {0}), ("0-2,7", {0, 1, 2, 7}), ("3,1", {1, 3})])
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert read_cpus(text) == cpus
    assert read_cpus(write_cpus(cpus)) == cpus


@pytest.mark.parametrize("text", ["x", "1-", "3-1", "-1", "1.3"])
def test_what_is_no_list_of_cpus(text: str) -> None:
    with pytest.raises(ValueError, match="is no list of CPUs"):
        read_cpus(text)


@given(st.frozensets(st.integers(0, 200)))
def test_a_list_says_what_it_was_written_of(cpus: frozenset[int]) -> None:
    assert read_cpus(write_cpus(cpus)) == cpus


@pytest.mark.parametrize(
    ("topology", "free", "count", "taken"),
    [
        (ONE_SOCKET, "0-7", 0, ""),
        (ONE_SOCKET, "0-7", 1, "0"),
        (ONE_SOCKET, "0-7", 2, "0,4"),
        (ONE_SOCKET, "1-3,5-7", 3, "1-2,5"),
        (ONE_SOCKET, "0-7", 8, "0-7"),
        # The core that is broken already is broken further.
        (ONE_SOCKET, "1-7", 1, "4"),
        (ONE_SOCKET, "0,1,6,7", 3, "0-1,6"),
        (TWO_SOCKETS, "0-15", 8, "0-3,8-11"),
        # A socket that is whole stays so where the other has room.
        (TWO_SOCKETS, "1-15", 2, "1,9"),
        (TWO_SOCKETS, "1-15", 8, "4-7,12-15"),
        (TWO_SOCKETS, "3,11,4-7,12-15", 2, "3,11"),
    ],
)
def test_cpus_that_share_more_are_taken_together(topology: Topology, free: str, count: int, taken: str) -> None:
    assert write_cpus(topology.take(read_cpus(free), count)) == taken


def test_more_than_are_free_cannot_be_taken() -> None:
    with pytest.raises(NotEnoughCpus, match="requested=3, available=2"):
        FLAT.take({1, 2}, 3)


@pytest.mark.parametrize(
    ("named", "millicores", "reserved"), [("3", 500, "3"), ("", 100, "0"), ("", 1001, "0,4"), ("", 99_000, "0-7")]
)
def test_what_the_host_keeps(named: str, millicores: int, reserved: str) -> None:
    assert write_cpus(reserved_cpus(ONE_SOCKET, read_cpus(named), millicores)) == reserved


@pytest.mark.parametrize(
    ("pod", "count"),
    [
        (guaranteed("whole", "2"), 2),
        (guaranteed("in-thousandths", "2000m"), 2),
        (guaranteed("part", "1500m"), 0),
        (a_pod("best-effort"), 0),
        (a_pod("burstable", containers=[{"name": "main", "resources": {"requests": {"cpu": "2"}}}]), 0),
        (guaranteed("as-a-whole", "1", resources={"limits": {"cpu": "1", "memory": "1Mi"}}), 0),
    ],
    ids=lambda value: value.metadata.name if isinstance(value, corev1.Pod) else "",
)
def test_who_gets_cpus_of_its_own(pod: corev1.Pod, count: int) -> None:
    assert exclusive_cpus(pod, pod.spec.containers[0]) == count


def test_what_a_pod_gets_the_others_lose_until_it_ends() -> None:
    cpus = some()
    assert (write_cpus(cpus.shared), write_cpus(cpus.allocatable)) == ("0-7", "1-7")
    assert cpus.give(guaranteed("a", "2")) is None
    assert cpus.give(guaranteed("b", "500m")) is None
    assert (write_cpus(cpus.of("uid-a", "main")), cpus.of("uid-b", "main")) == ("1,5", frozenset())
    assert write_cpus(cpus.shared) == "0,2-4,6-7"
    assert cpus.release(lambda uid: uid == "uid-a")
    assert not cpus.release(lambda uid: uid == "uid-a")
    assert write_cpus(cpus.shared) == "0-7"


def test_a_pod_that_cannot_have_all_has_none() -> None:
    cpus = some()
    refusal = cpus.give(guaranteed("a", "7", ("2", "Always")))
    words = "not enough cpus available to satisfy request: requested=7, available=5"
    assert refusal == Rejected(
        "UnexpectedAdmissionError", f"Pod was rejected: Allocate failed due to {words}, which is unexpected"
    )
    assert not cpus.assigned
    assert write_cpus(cpus.shared) == "0-7"


@pytest.mark.parametrize(
    ("init", "left"),
    [
        # What init containers have had the others get; a sidecar keeps its own.
        ((("2", ""), ("2", "")), "0,2-4,6-7"),
        ((("4", ""),), "0,3-4,7"),
        ((("2", "Always"),), "0,3-4,7"),
        ((("2", ""), ("2", "Always")), "0,3-4,7"),
    ],
)
def test_init_containers_hand_on_their_cpus(init: tuple[tuple[str, str], ...], left: str) -> None:
    cpus, pod = some(), guaranteed("a", "2", *init)
    assert cpus.give(pod) is None
    assert write_cpus(cpus.shared) == left
    sidecars = [f"init-{index}" for index, (_, policy) in enumerate(init) if policy]
    for name in sidecars:
        assert not cpus.of("uid-a", name) & cpus.of("uid-a", "main")
    # Said again, after a restart of the kubelet, it changes nothing.
    before = dict(cpus.assigned)
    assert cpus.give(pod) is None
    assert cpus.assigned == before


def test_whole_cores_or_nothing() -> None:
    cpus = some(whole_cores=True)
    refusal = cpus.give(guaranteed("odd", "3"))
    assert refusal is not None
    assert refusal.reason == "SMTAlignmentError"
    assert refusal.message.endswith("SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2")
    # The core of the reserved CPU is broken.
    assert cpus.give(guaranteed("a", "6")) is None
    assert write_cpus(cpus.of("uid-a", "main")) == "1-3,5-7"
    refusal = cpus.give(guaranteed("b", "2"))
    assert refusal is not None
    assert "available physical CPUs = 0, requested CPUs = 2, CPUs per core = 2" in refusal.message


def test_with_a_strict_reservation_nobody_runs_on_what_is_reserved() -> None:
    cpus = some(FLAT, "0-1", strict=True)
    assert write_cpus(cpus.shared) == "2-3"
    assert cpus.give(guaranteed("a", "1")) is None
    assert (write_cpus(cpus.shared), write_cpus(cpus.pool)) == ("3", "3")
    assert cpus.give(guaranteed("b", "1")) is None
    assert (write_cpus(cpus.shared), write_cpus(cpus.pool)) == ("", "0-1")
    restored = some(FLAT, "0-1", strict=True)
    restored.restore(cpus.shared, cpus.assigned)
    assert restored.assigned == cpus.assigned


@pytest.mark.parametrize(
    ("shared", "assigned", "rules", "words"),
    [
        ("1-3", {}, {}, 'not all reserved cpus: "0" are present in defaultCpuSet: "1-3"'),
        ("0-3", {"a": "3"}, {}, 'pod: uid, container: a cpuset: "3" overlaps with default cpuset "0-3"'),
        ("0-2", {}, {}, 'current set of available CPUs "0-3" doesn\'t match with CPUs in state "0-2"'),
        ("0-2", {"a": "3-4"}, {}, 'doesn\'t match with CPUs in state "0-4"'),
        ("0-3", {}, {"strict": True}, 'some of strictly reserved cpus: "0" are present in defaultCpuSet: "0-3"'),
    ],
)
def test_what_does_not_fit_is_not_gone_on_from(
    shared: str, assigned: dict[str, str], rules: dict[str, bool], words: str
) -> None:
    found = {("uid", name): read_cpus(cpus) for name, cpus in assigned.items()}
    with pytest.raises(InvalidCpuState) as refused:
        some(FLAT, **rules).restore(read_cpus(shared), found)
    assert words in str(refused.value)


LIVES = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.booleans(),
        st.integers(0, 5),
        st.lists(st.tuples(st.integers(0, 4).map(str), st.sampled_from(["", "Always"])), max_size=2),
    ),
    max_size=20,
)


@given(
    topology=st.sampled_from([ONE_SOCKET, TWO_SOCKETS, FLAT]),
    reserved=st.integers(1, 3),
    whole_cores=st.booleans(),
    strict=st.booleans(),
    lives=LIVES,
)
def test_no_cpu_is_ever_in_two_places(
    topology: Topology, reserved: int, whole_cores: bool, strict: bool, lives: list[Any]
) -> None:
    kept = reserved_cpus(topology, frozenset(), reserved * 1000)
    cpus = ExclusiveCpus(topology, CpuRules(kept, whole_cores, strict))
    for name, ends, count, init in lives:
        if ends:
            cpus.release(lambda uid, name=name: uid == f"uid-{name}")
        else:
            pod = guaranteed(name, str(count), *init)
            new = not any(uid == pod.metadata.uid for uid, _ in cpus.assigned)
            refusal = cpus.give(pod)
            if refusal is None and new:
                containers = [*pod.spec.init_containers, *pod.spec.containers]
                assert all(len(cpus.of(pod.metadata.uid, one.name)) == exclusive_cpus(pod, one) for one in containers)
        cpus.check_invariants()
        again = ExclusiveCpus(topology, CpuRules(kept, whole_cores, strict))
        if cpus.shared:
            text = cpu_checkpoint.written("static", cpus.shared, cpus.assigned)
            again.restore(*cpu_checkpoint.read(text, "static", "f"))
            assert again.assigned == cpus.assigned


# Files as genuine kubelets have written them.
@pytest.mark.parametrize(
    ("text", "shared", "assigned"),
    [
        ('{"policyName":"none","defaultCpuSet":"","checksum":1353318690}', "", {}),
        ('{"policyName":"static","defaultCpuSet":"0-1","checksum":1636926438}', "0-1", {}),
        ('{"policyName":"static","defaultCpuSet":"0-31","checksum":3540042759}', "0-31", {}),
        (
            '{"policyName":"none","defaultCpuSet":"1-3","entries":{"pod":{"container1":"4-6","container2":"1-3"}},'
            '"checksum":3610638499}',
            "1-3",
            {("pod", "container1"): "4-6", ("pod", "container2"): "1-3"},
        ),
    ],
)
def test_the_file_is_that_of_the_genuine_kubelet(text: str, shared: str, assigned: dict[tuple[str, str], str]) -> None:
    policy = "static" if '"static"' in text else "none"
    wanted = {key: read_cpus(cpus) for key, cpus in assigned.items()}
    assert cpu_checkpoint.read(text, policy, "f") == (read_cpus(shared), wanted)
    assert cpu_checkpoint.written(policy, read_cpus(shared), wanted) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "/f: JSONDecodeError"),
        ("{}", "/f: KeyError('policyName')"),
        ("[]", "/f: TypeError"),
        ('{"policyName":"static","entries":{"a":"1"},"checksum":1}', "/f: AttributeError"),
        ('{"policyName":"static","defaultCpuSet":"0-2","checksum":1636926438}', "/f: checkpoint is corrupted"),
        ('{"policyName":"static","defaultCpuSet":"1.3","checksum":0}', '/f: "1.3" is no list of CPUs'),
        (
            '{"policyName":"none","defaultCpuSet":"","checksum":1353318690}',
            'configured policy "static" differs from state checkpoint policy "none", please drain this node and '
            'delete the CPU manager checkpoint file "/f" before restarting Kubelet',
        ),
    ],
)
def test_a_file_that_cannot_be_believed(text: str, words: str) -> None:
    with pytest.raises(InvalidCpuState) as refused:
        cpu_checkpoint.read(text, "static", "/f")
    assert words in str(refused.value)


def test_the_topology_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "online").write_text("0-1,4-5\n")
    for id_, (core, socket) in {0: ("0,4", 0), 4: ("0,4", 0), 1: ("1,5", 1), 5: ("1,5", 1), 2: ("2", 1)}.items():
        folder = tmp_path / f"cpu{id_}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{core}\n")
        (folder / "physical_package_id").write_text(f"{socket}\n")
        (folder.parent / f"node{socket}").mkdir()
    topology = read_topology(tmp_path)
    assert topology.all == {0, 1, 4, 5}
    assert topology.cpus_per_core == 2
    assert topology.of_whole_cores({0, 1, 4}) == {0, 4}
    assert topology.take({0, 1, 4, 5}, 2) == {0, 4}


def test_the_topology_of_this_host_can_be_read() -> None:
    topology = read_topology()
    assert topology.take(topology.all, len(topology.all)) == topology.all


class Runtime:
    """Notes which containers were moved where; those in `refused` fail."""

    def __init__(self) -> None:
        self.moved: list[tuple[str, str]] = []
        self.refused: set[str] = set()

    async def update_container(self, id_: str, resources: criv1.LinuxContainerResources) -> None:
        if id_ in self.refused:
            raise RuntimeFailure(grpc.StatusCode.UNKNOWN, "busy")
        self.moved.append((id_, resources.cpuset_cpus))


class Host:
    """A manager of four CPUs, the first reserved, and its Pods."""

    def __init__(self, root: Path, policy: str = "static") -> None:
        self.runtime = Runtime()
        self.workers: list[Any] = []
        self.held = {"uid-a", "uid-b"}
        self.manager = CpuManager(
            CpuOptions(policy),
            FLAT,
            100,
            root,
            runtime=self.runtime,  # type: ignore[arg-type]
            clock=SystemClock(),
            workers=lambda: self.workers,
            holds=lambda uid: uid in self.held,
        )
        self.manager.start()

    def runs(self, pod: corev1.Pod, *containers: str) -> None:
        alive = [Container(f"{pod.metadata.name}-{name}", name, 0, "box", RUNNING, 1.0, 1.0) for name in containers]
        runtime = SimpleNamespace(alive=lambda: alive)
        view = SimpleNamespace(runtime=runtime, name=pod.metadata.name)
        self.workers.append(SimpleNamespace(uid=pod.metadata.uid, view=view))

    async def equipped(self, pod: corev1.Pod, container: str = "main") -> str:
        config = criv1.ContainerConfig()
        await self.manager.equip(pod, corev1.Container(name=container), config)
        return config.linux.resources.cpuset_cpus


async def test_those_that_share_are_moved_before_an_owner_starts(tmp_path: Path) -> None:
    host = Host(tmp_path)
    shares, owner = a_pod("b"), guaranteed("a", "2")
    assert await host.equipped(shares) == "0-3"
    host.runs(shares, "main")
    assert host.manager.give(owner) is None
    assert await host.equipped(owner) == "1-2"
    assert host.runtime.moved == [("b-main", "0,3")]
    host.runs(owner, "main", "sidecar")
    await host.manager.move_shared()
    # Once is enough; and the owner's second container shares.
    assert host.runtime.moved[1:] == [("a-sidecar", "0,3")]
    host.workers.pop()
    host.manager.pod_ended("uid-a")
    host.runtime.refused = {"b-main"}
    await host.manager.move_shared()
    host.runtime.refused = set()
    await host.manager.move_shared()
    assert host.runtime.moved[2:] == [("b-main", "0-3")]


async def test_a_change_is_carried_out_at_once(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.runs(a_pod("b"), "main")
    task = asyncio.create_task(host.manager.run())
    assert host.manager.give(guaranteed("a", "1")) is None
    async with asyncio.timeout(60):
        while ("b-main", "0,2-3") not in host.runtime.moved:
            await asyncio.sleep(0)
    task.cancel()


async def test_a_kubelet_that_starts_knows_who_has_what(tmp_path: Path) -> None:
    host, pod = Host(tmp_path), guaranteed("a", "2")
    host.manager.give(pod)
    again = Host(tmp_path)
    assert await again.equipped(pod) == "1-2"
    again.held.discard("uid-a")
    assert again.manager.give(guaranteed("b", "3")) is None
    assert write_cpus(again.manager.of("uid-b", "main")) == "1-3"
    with pytest.raises(InvalidCpuState, match='configured policy "none" differs from state checkpoint policy "static"'):
        Host(tmp_path, "none")


async def test_cpus_of_pods_that_went_while_no_kubelet_ran_come_back(tmp_path: Path) -> None:
    Host(tmp_path).manager.give(guaranteed("a", "2"))
    host = Host(tmp_path)
    assert await host.equipped(a_pod("b")) == "0,3"
    host.runs(a_pod("b"), "main")
    host.held.discard("uid-a")
    task = asyncio.create_task(host.manager.run())
    async with asyncio.timeout(60):
        while ("b-main", "0-3") not in host.runtime.moved:
            await asyncio.sleep(0)
    task.cancel()


async def test_a_container_that_started_while_the_pool_changed_is_moved(tmp_path: Path) -> None:
    host, shares = Host(tmp_path), a_pod("b")
    task = asyncio.create_task(host.manager.run())
    assert await host.equipped(shares) == "0-3"
    assert host.manager.give(guaranteed("a", "1")) is None
    await host.equipped(guaranteed("a", "1"))
    assert host.runtime.moved == []
    host.runs(shares, "main")
    host.manager.pod_changed()
    async with asyncio.timeout(60):
        while ("b-main", "0,2-3") not in host.runtime.moved:
            await asyncio.sleep(0)
    task.cancel()


async def test_a_container_that_started_on_the_pool_is_left_there(tmp_path: Path) -> None:
    host, shares = Host(tmp_path), a_pod("b")
    await host.equipped(shares)
    host.runs(shares, "main")
    await host.manager.move_shared()
    assert host.runtime.moved == []


async def test_without_the_policy_nothing_is_given(tmp_path: Path) -> None:
    host, pod = Host(tmp_path, "none"), guaranteed("a", "9")
    host.runs(pod, "main")
    assert host.manager.give(pod) is None
    assert await host.equipped(pod) == ""
    await host.manager.run()
    assert (host.runtime.moved, host.manager.allocatable) == ([], frozenset())
    assert host.manager.refuse_resize(guaranteed("a", "1"), pod) == ""


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [("1", "2", True), ("1", "1500m", True), ("500m", "1", True), ("500m", "600m", False)],
)
def test_a_resize_of_cpus_of_ones_own_is_refused(tmp_path: Path, before: str, after: str, refused: bool) -> None:
    words = Host(tmp_path).manager.refuse_resize(guaranteed("a", after), guaranteed("a", before))
    assert bool(words) is refused


def test_monitors_are_told(tmp_path: Path) -> None:
    host, pod = Host(tmp_path), guaranteed("a", "2")
    host.manager.give(pod)
    (container,) = pod_resources(Devices(), pod, host.manager.of).containers
    assert list(container.cpu_ids) == [1, 2]
    assert host.manager.allocatable == {1, 2, 3}
