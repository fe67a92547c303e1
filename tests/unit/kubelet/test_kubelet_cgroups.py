"""Control groups: their names, what is written to them, and who keeps them."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.kubelet.cgroups import PAGE_BYTES, ControlGroups, GroupFailure
from navarch.services.kubelet.core.cgroup_names import CgroupDriver, CgroupNames
from navarch.services.kubelet.core.cgroup_settings import (
    UNLIMITED,
    GroupSettings,
    class_settings,
    files,
    pod_settings,
    weight,
)
from navarch.services.kubelet.node.group_options import (
    NO_GROUPS,
    GroupOptions,
    GroupOptionsError,
    add_options,
    group_options,
)
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.node.options import add_options as add_node_options
from navarch.services.kubelet.node.status import Reservations
from navarch.services.kubelet.pod_groups import PodGroups

MIB = 1 << 20
SYSTEMD = CgroupNames(driver=CgroupDriver.SYSTEMD)
BOTH = {"limits": {"cpu": "500m", "memory": "64Mi"}}
SMALL = {"requests": {"cpu": "250m"}}


def pod(*containers: dict[str, Any], uid: str = "a-1", init: Any = (), **spec: Any) -> corev1.Pod:
    """A Pod whose containers have these resources."""

    def named(resources: dict[str, Any], number: int, more: dict[str, Any]) -> dict[str, Any]:
        filled = {**resources, "requests": {**resources.get("limits", {}), **resources.get("requests", {})}}
        return {"name": f"c{number}", "image": "i", "resources": filled, **more}

    made = codec.from_json(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "uid": uid},
            "spec": {
                "containers": [named(one, number, {}) for number, one in enumerate(containers)],
                "initContainers": [
                    named(one, number + 10, {"restartPolicy": "Always"}) for number, one in enumerate(init)
                ],
                **spec,
            },
        },
        strict=True,
    )
    assert isinstance(made, corev1.Pod)
    return made


@pytest.mark.parametrize(
    ("names", "resources", "path", "parent"),
    [
        pytest.param(CgroupNames(), BOTH, "/kubepods/poda-1", "/kubepods/poda-1", id="guaranteed"),
        pytest.param(CgroupNames(), SMALL, "/kubepods/burstable/poda-1", "/kubepods/burstable/poda-1", id="burstable"),
        pytest.param(
            CgroupNames("/n/"), {}, "/n/kubepods/besteffort/poda-1", "/n/kubepods/besteffort/poda-1", id="root"
        ),
        pytest.param(
            SYSTEMD,
            SMALL,
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_1.slice",
            "kubepods-burstable-poda_1.slice",
            id="systemd",
        ),
        pytest.param(
            CgroupNames("/my-lab", CgroupDriver.SYSTEMD),
            BOTH,
            "/my_lab.slice/my_lab-kubepods.slice/my_lab-kubepods-poda_1.slice",
            "my_lab-kubepods-poda_1.slice",
            id="systemd-root",
        ),
        pytest.param(CgroupNames("/n", per_qos=False), BOTH, "", "/n", id="no-groups"),
        pytest.param(CgroupNames(per_qos=False), BOTH, "", "", id="no-groups-at-the-root"),
    ],
)
def test_names(names: CgroupNames, resources: dict[str, Any], path: str, parent: str) -> None:
    made = pod(resources)
    assert (names.of_pod(made), names.parent(made)) == (path, parent)
    if path:
        assert path in names.of_uid("a-1")
        assert names.uid_in(path.rpartition("/")[2]) == names.as_written("a-1")


@pytest.mark.parametrize("name", ["kubepods-burstable.slice", "kubepods.slice", "besteffort", "abc123"])
def test_a_group_that_is_no_pods(name: str) -> None:
    assert CgroupNames().uid_in(name) == SYSTEMD.uid_in(name) == ""


@pytest.mark.parametrize(
    ("made", "v1", "v2"),
    [
        pytest.param(
            pod(BOTH, BOTH),
            {
                "cpu/cpu.shares": "1024",
                "cpu/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "100000",
                "memory/memory.limit_in_bytes": str(128 * MIB),
                "pids/pids.max": "100",
            },
            {"cpu.weight": "39", "cpu.max": "100000 100000", "memory.max": str(128 * MIB), "pids.max": "100"},
            id="guaranteed",
        ),
        pytest.param(
            pod(BOTH, SMALL),
            {
                "cpu/cpu.shares": "768",
                "cpu/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "memory/memory.limit_in_bytes": "-1",
                "pids/pids.max": "100",
            },
            {"cpu.weight": "30", "cpu.max": "max 100000", "memory.max": "max", "pids.max": "100"},
            id="one-without-limits",
        ),
        pytest.param(
            pod({}),
            {
                "cpu/cpu.shares": "2",
                "cpu/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "memory/memory.limit_in_bytes": "-1",
                "pids/pids.max": "100",
            },
            {"cpu.weight": "1", "cpu.max": "max 100000", "memory.max": "max", "pids.max": "100"},
            id="best-effort",
        ),
    ],
)
def test_files_of_a_pod(made: corev1.Pod, v1: dict[str, str], v2: dict[str, str]) -> None:
    settings = pod_settings(made, pids=100)
    assert files(settings, unified=False) == v1
    assert files(settings, unified=True) == v2


@pytest.mark.parametrize(
    ("made", "memory"),
    [
        pytest.param(pod(BOTH, init=[BOTH]), 128 * MIB, id="a-sidecar-counts"),
        pytest.param(pod(BOTH, init=[{}]), -1, id="a-sidecar-without-limit"),
        pytest.param(pod(SMALL, resources={"limits": {"memory": "96Mi"}}), 96 * MIB, id="the-pod-as-a-whole"),
        pytest.param(pod(BOTH, resources={"limits": {"memory": "96Mi"}}), 96 * MIB, id="the-pod-before-its-containers"),
        pytest.param(pod(BOTH, overhead={"memory": "16Mi"}), 80 * MIB, id="overhead"),
    ],
)
def test_memory_of_a_pod(made: corev1.Pod, memory: int) -> None:
    assert pod_settings(made).memory_bytes == memory


def test_huge_pages_are_those_of_the_pod() -> None:
    made = pod(BOTH, resources={"limits": {"memory": "96Mi", "hugepages-2Mi": "4Mi"}})
    settings = pod_settings(made)
    assert files(settings, unified=False)["hugetlb/hugetlb.2MB.limit_in_bytes"] == str(4 * MIB)
    assert files(settings, unified=True)["hugetlb.2MB.max"] == str(4 * MIB)


@pytest.mark.parametrize(("shares", "expected"), [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (1 << 30, 10_000)])
def test_weights(shares: int, expected: int) -> None:
    assert weight(shares) == expected


def test_classes_have_what_their_pods_ask_for() -> None:
    settings = class_settings([pod(SMALL), pod(SMALL), pod(BOTH), pod({})])
    assert settings == {"Burstable": GroupSettings(512), "BestEffort": GroupSettings(2)}
    assert class_settings([])["Burstable"] == GroupSettings(2)


# The host


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    for name in ("cpu", "memory", "pids", "systemd"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuacct").symlink_to("cpu")
    return tmp_path


def groups_of(root: Path, here: list[corev1.Pod], options: GroupOptions | None = None) -> PodGroups:
    options = options or GroupOptions(pod_max_pids=7)
    return PodGroups(options, lambda: here, lambda: [one.metadata.uid for one in here], ControlGroups(root))


async def test_the_groups_of_a_node_and_its_pods(v1: Path) -> None:
    here = [pod(SMALL)]
    groups = groups_of(v1, here)
    groups.start(Host(4, 1024 * MIB), Reservations(1000, 24 * MIB, processes=10), 100)
    assert (v1 / "memory/kubepods/memory.limit_in_bytes").read_text() == str(1000 * MIB)
    assert (v1 / "pids/kubepods/pids.max").read_text() == "90"
    assert (v1 / "cpu/kubepods/cpu.shares").read_text() == "3072"
    await groups.make(here[0])
    assert (v1 / "pids/kubepods/burstable/poda-1/pids.max").read_text() == "7"
    assert (v1 / "cpu/kubepods/burstable/cpu.shares").read_text() == "256"
    assert (v1 / "cpu/kubepods/besteffort/cpu.shares").read_text() == "2"
    here.append(pod(SMALL, uid="b"))
    await groups.make(here[1])
    assert (v1 / "cpu/kubepods/burstable/cpu.shares").read_text() == "512"


def a_tree(root: Path, *paths: str) -> None:
    """Groups as the kernel would show them: with no files, so that they can be removed."""
    for tree in ("cpu", "memory", "systemd"):
        for path in paths:
            (root / tree / path).mkdir(parents=True, exist_ok=True)


async def test_a_pods_group_goes_with_it_from_every_tree_also_when_only_its_uid_is_known(v1: Path) -> None:
    a_tree(v1, "kubepods/burstable/poda-1/container", "kubepods/burstable/podb")
    await groups_of(v1, []).remove(corev1.Pod(metadata=pod(SMALL).metadata))
    left = {path.relative_to(v1).as_posix() for path in v1.glob("*/kubepods/burstable/*") if path.is_dir()}
    assert left == {f"{tree}/kubepods/burstable/podb" for tree in ("cpu", "cpuacct", "memory", "systemd")}


class Stopped(Exception):
    """The first turn is over."""


class OneTurn:
    async def sleep(self, _: float) -> None:
        raise Stopped


async def test_what_a_killed_kubelet_left_is_removed_and_nothing_else(v1: Path) -> None:
    a_tree(v1, "kubepods/besteffort/podgone", "kubepods/burstable/poda-1", "kubepods/poddone/c", "kubepods/mine")
    (v1 / "cpu/kubepods/besteffort/podgone/tasks").touch()  # In use: the kernel would not remove it.
    clock: Any = OneTurn()
    with pytest.raises(Stopped):
        await groups_of(v1, [pod(SMALL)]).run(clock)
    left = {path.relative_to(v1 / "cpu/kubepods").as_posix() for path in (v1 / "cpu/kubepods").rglob("*")}
    assert left == {
        "besteffort",
        "besteffort/podgone",
        "besteffort/podgone/tasks",
        "burstable",
        "burstable/poda-1",
        "mine",
    }
    assert not (v1 / "memory/kubepods/besteffort/podgone").exists()


@pytest.mark.parametrize(
    ("file", "found", "differs"),
    [
        ("memory/kubepods/poda-1/memory.limit_in_bytes", str(64 * MIB), False),
        ("memory/kubepods/poda-1/memory.limit_in_bytes", str(32 * MIB), True),
        ("memory/kubepods/poda-1/memory.limit_in_bytes", "9223372036854771712", True),
        ("cpu/kubepods/poda-1/cpu.cfs_quota_us", "-1", True),
        ("cpu/kubepods/poda-1/cpu.shares", "2", True),
        ("pids/kubepods/poda-1/pids.max", "max", True),
    ],
)
async def test_a_pods_group_that_somebody_else_has_set_is_put_right(
    v1: Path, file: str, found: str, differs: bool
) -> None:
    made, control, clock = pod(BOTH), ControlGroups(v1), OneTurn()
    settings = pod_settings(made, 7)
    control.make("/kubepods/poda-1", settings)
    before = (v1 / file).read_text()
    (v1 / file).write_text(f"{found}\n")
    assert control.differs("/kubepods/poda-1", settings) is differs
    groups = PodGroups(GroupOptions(pod_max_pids=7), list, lambda: ["a-1"], control, settled={"a-1": made}.get)
    with pytest.raises(Stopped):
        await groups.run(clock)  # type: ignore[arg-type]
    assert (v1 / file).read_text().strip() == before


async def test_the_group_of_a_pod_that_is_being_resized_is_left_alone(v1: Path) -> None:
    control, clock = ControlGroups(v1), OneTurn()
    control.make("/kubepods/poda-1", GroupSettings(memory_bytes=128 * MIB))
    groups = PodGroups(GroupOptions(), list, lambda: ["a-1"], control, settled=lambda _: None)
    with pytest.raises(Stopped):
        await groups.run(clock)  # type: ignore[arg-type]
    assert (v1 / "memory/kubepods/poda-1/memory.limit_in_bytes").read_text() == str(128 * MIB)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (GroupSettings(memory_bytes=1_000_001), str(1_000_001 // PAGE_BYTES * PAGE_BYTES)),
        (GroupSettings(memory_bytes=UNLIMITED), "9223372036854771712"),
    ],
    ids=["whole pages", "no limit"],
)
def test_what_the_kernel_makes_of_memory_is_no_difference(v1: Path, settings: GroupSettings, found: str) -> None:
    control = ControlGroups(v1)
    control.make("/kubepods/poda-1", settings)
    (v1 / "memory/kubepods/poda-1/memory.limit_in_bytes").write_text(found)
    assert not control.differs("/kubepods/poda-1", settings)


async def test_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids rdma\n")
    groups = groups_of(tmp_path, [pod(BOTH)])
    groups.start(Host(1, 1024 * MIB), Reservations(), 50)
    await groups.make(pod(BOTH))
    assert (tmp_path / "kubepods/poda-1/memory.max").read_text() == str(64 * MIB)
    assert (tmp_path / "kubepods/poda-1/cpu.max").read_text() == "50000 100000"
    for folder in ("", "kubepods"):
        assert (tmp_path / folder / "cgroup.subtree_control").read_text() == "+pids"


async def test_reserved_groups_are_set_where_they_are_and_missed_where_they_are_not(v1: Path) -> None:
    a_tree(v1, "system")
    (v1 / "pids/system").mkdir()
    asked = Reservations(500, 64 * MIB)
    options = GroupOptions(enforced=frozenset({"system-reserved"}), reserved=(("/system", asked),))
    groups_of(v1, [], options).start(Host(4, 1024 * MIB), asked, 100)
    assert (v1 / "memory/system/memory.limit_in_bytes").read_text() == str(64 * MIB)
    assert (v1 / "cpu/system/cpu.shares").read_text() == "512"
    assert not (v1 / "memory/kubepods/memory.limit_in_bytes").exists()
    options = GroupOptions(reserved=(("/nowhere", asked),))
    with pytest.raises(GroupFailure, match="/nowhere"):
        groups_of(v1, [], options).start(Host(4, 1024 * MIB), asked, 100)


async def test_a_host_without_control_groups(tmp_path: Path) -> None:
    with pytest.raises(GroupFailure, match="no control groups for cpu, memory, pids"):
        groups_of(tmp_path, []).start(Host(4, MIB), Reservations(), 100)
    groups = groups_of(tmp_path, [], NO_GROUPS)
    groups.start(Host(4, MIB), Reservations(), 100)
    await groups.make(pod(BOTH))
    await groups.remove(pod(BOTH))
    assert not list(tmp_path.iterdir())


def read(*words: str, systemd: bool = False) -> GroupOptions:
    parser = argparse.ArgumentParser()
    add_options(parser)
    add_node_options(parser)
    return group_options(parser.parse_args(words), lambda: systemd)


def test_options() -> None:
    assert read() == GroupOptions()
    assert read("--cgroups-per-qos=false", "--enforce-node-allocatable=none") == NO_GROUPS
    assert read("--cgroup-driver=systemd", "--pod-max-pids=9", systemd=True) == GroupOptions(SYSTEMD, 9)
    words = ("--enforce-node-allocatable=pods,kube-reserved", "--kube-reserved-cgroup=/kube", "--kube-reserved=pid=5")
    assert read(*words).reserved == (("/kube", Reservations(processes=5)),)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cgroup-driver=systemd",), "systemd does not run on this host"),
        (("--cgroups-per-qos=false",), "needs --cgroups-per-qos"),
        (("--enforce-node-allocatable=pods,kube-reserved",), "--kube-reserved-cgroup must say which"),
        (
            ("--enforce-node-allocatable=all",),
            "'all': accepted are pods, system-reserved, kube-reserved, or none alone",
        ),
    ],
)
def test_options_that_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(GroupOptionsError, match=message):
        read(*words)
