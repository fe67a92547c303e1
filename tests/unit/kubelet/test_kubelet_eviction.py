"""Pressure on a node, and who has to go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.eviction_ranking import (
    ContainerUsage,
    DiskUse,
    PodUsage,
    low_message,
    over_limit_message,
    ranked,
)
from navarch.services.kubelet.core.eviction_signals import Observation, Signal
from navarch.services.kubelet.core.eviction_thresholds import Threshold, thresholds
from navarch.services.kubelet.core.orders import Admitted, Evict, StopContainer
from navarch.services.kubelet.core.pressure import Pressure, disruption, refused_under
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.core.status import NodeFacts, pod_status
from navarch.services.kubelet.node.usage import disk_use

NOW = 1_700_000_000.0
MIB = 1 << 20
MakePod = Callable[..., corev1.Pod]


def left(mib: int) -> dict[Signal, Observation]:
    return {Signal.MEMORY: Observation(mib * MIB, 1000 * MIB)}


def names(found: tuple[Threshold, ...]) -> list[tuple[str, bool]]:
    return [(one.signal.value, one.hard) for one in found]


def test_a_hard_threshold_acts_at_once_and_the_condition_outlasts_it() -> None:
    pressure = Pressure(thresholds("memory.available<100Mi"), transition_s=300)
    seen = []
    for mib, after_s in ((100, 0), (99, 10), (500, 20), (500, 309.9), (500, 310)):
        acts = names(pressure.look(left(mib), NOW + after_s))
        seen.append((acts, pressure.conditions, pressure.is_low))
    assert seen == [
        ([], (), False),
        ([("memory.available", True)], ("MemoryPressure",), True),
        ([], ("MemoryPressure",), False),
        ([], ("MemoryPressure",), False),
        ([], (), False),
    ]


def test_a_soft_threshold_acts_after_its_grace_period_and_forgets_when_it_was_above() -> None:
    pressure = Pressure(thresholds("", "memory.available<200Mi", "memory.available=30s"))
    assert pressure.look(left(150), NOW) == ()
    assert pressure.conditions == ("MemoryPressure",)
    assert pressure.look(left(250), NOW + 20) == ()
    assert pressure.look(left(150), NOW + 25) == ()
    assert pressure.look(left(150), NOW + 54) == ()
    assert names(pressure.look(left(150), NOW + 55)) == [("memory.available", False)]


def test_minimum_reclaim_keeps_a_threshold_that_acted() -> None:
    pressure = Pressure(thresholds("memory.available<100Mi", "", "", "memory.available=50Mi"))
    assert pressure.look(left(120), NOW) == ()
    assert len(pressure.look(left(90), NOW + 1)) == 1
    assert len(pressure.look(left(140), NOW + 2)) == 1
    assert pressure.remaining(left(149)) != []
    assert pressure.look(left(150), NOW + 3) == ()
    assert pressure.remaining(left(150)) == []


def test_memory_comes_before_all_else_and_what_is_not_known_counts_for_nothing() -> None:
    pressure = Pressure(thresholds("nodefs.available<50%,pid.available<50%,memory.available<100Mi"))
    low = Observation(1, 1000)
    found = pressure.look({Signal.NODE_FS: low, Signal.MEMORY: low}, NOW)
    assert [one.signal for one in found] == [Signal.MEMORY, Signal.NODE_FS]
    assert pressure.conditions == ("DiskPressure", "MemoryPressure")


def requesting(memory: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "resources": {"requests": {"memory": memory}}}]}


@pytest.mark.parametrize(
    ("conditions", "spec", "taken"),
    [
        ((), {}, True),
        (("MemoryPressure",), {}, False),
        (("MemoryPressure",), requesting("1Mi"), True),
        (("MemoryPressure",), {"priority": 2_000_000_000}, True),
        (("MemoryPressure",), {"tolerations": [{"operator": "Exists"}]}, True),
        (
            ("MemoryPressure",),
            {"tolerations": [{"key": "node.kubernetes.io/memory-pressure", "effect": "NoExecute"}]},
            False,
        ),
        (("DiskPressure",), requesting("1Mi"), False),
        (("DiskPressure",), {"tolerations": [{"operator": "Exists"}]}, False),
        (("PIDPressure",), {"priority": 2_000_001_000}, True),
        (("DiskPressure", "MemoryPressure"), requesting("1Mi"), False),
    ],
)
def test_who_is_let_in(pod: MakePod, conditions: tuple[str, ...], spec: dict[str, Any], taken: bool) -> None:
    refused = refused_under(conditions, pod(**spec))
    assert (refused is None) == taken
    if refused is not None:
        assert refused.reason == "Evicted"
        assert refused.message == f"Pod was rejected: The node had condition: [{' '.join(conditions)}]. "


def test_mirror_pods_are_critical(pod: MakePod) -> None:
    static = pod()
    static.metadata.annotations["kubernetes.io/config.mirror"] = "hash"
    assert refused_under(("DiskPressure",), static) is None


def use(memory: int = 0, files: int = 0, logs: int = 0, volumes: int = 0, processes: int = 0) -> PodUsage:
    container = ContainerUsage("main", memory, DiskUse(files, 1), DiskUse(logs, 1))
    return PodUsage(memory, processes, (container,), {"v": DiskUse(volumes, 1)})


def test_ranking_by_memory(pod: MakePod) -> None:
    pods = [
        pod("within", **requesting("10Mi")),
        pod("important", priority=10),
        pod("much"),
        pod("little"),
        pod("unknown", priority=1000),
    ]
    usages = {
        "uid-within": use(5 * MIB),
        "uid-important": use(900 * MIB),
        "uid-much": use(20 * MIB),
        "uid-little": use(2 * MIB),
    }
    order = [one.metadata.name for one in ranked(pods, usages, Signal.MEMORY, image_disk=False)]
    assert order == ["unknown", "much", "little", "important", "within"]


def test_ranking_by_processes_knows_no_requests(pod: MakePod) -> None:
    pods = [pod("few"), pod("many"), pod("important", priority=1)]
    usages = {"uid-few": use(processes=1), "uid-many": use(processes=9), "uid-important": use(processes=99)}
    order = [one.metadata.name for one in ranked(pods, usages, Signal.PID, image_disk=False)]
    assert order == ["many", "few", "important"]


@pytest.mark.parametrize(
    ("signal", "image_disk", "first"),
    [
        (Signal.NODE_FS, False, "layer"),
        (Signal.NODE_FS, True, "volume"),
        (Signal.IMAGE_FS, True, "layer"),
        (Signal.IMAGE_FS, False, "layer"),
    ],
)
def test_ranking_by_disk_counts_what_is_on_that_disk(
    pod: MakePod, signal: Signal, image_disk: bool, first: str
) -> None:
    usages = {"uid-layer": use(files=100), "uid-volume": use(volumes=50, logs=10)}
    order = ranked([pod("volume"), pod("layer")], usages, signal, image_disk=image_disk)
    assert order[0].metadata.name == first


def test_the_message_names_who_took_more_than_asked_for(pod: MakePod) -> None:
    low = thresholds("memory.available<100Mi")
    told = low_message(pod(**requesting("10Mi")), use(30 * MIB), Signal.MEMORY, low, left(50))
    assert told == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container main was using 30Mi, request is 10Mi, has larger consumption of memory. "
    )
    told = low_message(pod(), use(1024), Signal.MEMORY, low, left(50))
    assert told.endswith("Container main was using 1Ki, request is 0, has larger consumption of memory. ")
    low = thresholds("pid.available<10")
    told = low_message(pod(), use(), Signal.PID, low, {Signal.PID: Observation(5, 100)})
    assert told == "The node was low on resource: pids. Threshold quantity: 10, available: 5. "
    assert low_message(pod(), None, Signal.NODE_FS, (), {}) == "The node was low on resource: ephemeral-storage. "


def test_limits_on_files(pod: MakePod) -> None:
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
    limited = {"name": "main", "resources": {"limits": {"ephemeral-storage": "2Mi"}}}
    other = {"name": "other", "resources": {"limits": {"ephemeral-storage": "4Mi"}}}
    one = pod(volumes=volumes, containers=[limited, other])

    def told(usage: PodUsage, image_disk: bool = False) -> str:
        return over_limit_message(one, usage, image_disk=image_disk)

    assert told(use(files=MIB, volumes=MIB)) == ""
    assert told(use(volumes=MIB + 1)) == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert told(use(files=7 * MIB)) == "Pod ephemeral local storage usage exceeds the total limit of containers 6Mi. "
    assert told(use(files=3 * MIB)) == 'Container main exceeded its local ephemeral storage limit "2Mi". '
    assert told(use(files=3 * MIB), image_disk=True) == ""
    in_memory = PodUsage(in_memory={"v": DiskUse(2 * MIB)})
    assert told(in_memory) == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '


def test_an_evicted_pod_ends_within_its_grace_and_has_failed(node: Callable[..., Any]) -> None:
    made = node()
    made.tell(Admitted())
    assert made.stage == Stage.RUNNING
    made.tell(Evict("Evicted", "The node was low. ", 1.0, disruption("The node was low. ")))
    stop = next(order for order in made.log if isinstance(order, StopContainer))
    assert stop.deadline == made.now + 1.0
    assert made.stage == Stage.FINISHED
    status = pod_status(made.machine.view, NodeFacts(("192.0.2.1",)), made.now)
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", "The node was low. ")
    target = next(one for one in status.conditions if one.type == "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "TerminationByKubelet")


def test_disk_use_counts_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(bytes(8192))
    (tmp_path / "link").hardlink_to(tmp_path / "below" / "file")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = disk_use(tmp_path)
    assert found.inodes == 4
    assert found.bytes >= 8192
    assert disk_use(tmp_path / "absent") == DiskUse()
