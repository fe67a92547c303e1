"""PodStatus from what is known: phases, conditions, container states."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import CREATED, EXITED, RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import ProbeKind
from navarch.services.kubelet.core.status import NodeFacts, pod_status
from navarch.services.kubelet.core.view import Verdict, View, Waiting

NOW = 1_700_000_000.0
NODE = NodeFacts(("192.0.2.1",), "containerd")
BOX = Sandbox("box", 0, True, NOW, ("10.0.0.7", "fd00::7"))
MakePod = Callable[..., corev1.Pod]


def a_run(name: str, state: int = RUNNING, code: int = 0, attempt: int = 0, **fields: Any) -> Container:
    ended = NOW + 1 if state == EXITED else 0.0
    return Container(
        f"{name}{attempt}",
        name,
        attempt,
        "box",
        state,
        NOW,
        NOW,
        ended,
        code,
        image="app:1",
        image_id="sha256:1",
        **fields,
    )


def status_of(pod: corev1.Pod, *facts: Sandbox | Container, **view: Any) -> corev1.PodStatus:
    known = View(pod, **view)
    for fact in facts:
        known.runtime.see(fact)
    return pod_status(known, NODE, NOW)


def conditions(status: corev1.PodStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


TWO = {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}
INIT = {"initContainers": [{"name": "i", "image": "x"}]}
SIDECAR = {"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}]}
ENDING = {"ending": True}
LATE = Verdict("DeadlineExceeded", "")
CRASHED = Waiting("CrashLoopBackOff", "back-off")


@pytest.mark.parametrize(
    ("spec", "facts", "view", "phase"),
    [
        pytest.param({}, [], {}, "Pending", id="nothing yet"),
        pytest.param({}, [BOX], {}, "Pending", id="sandbox only"),
        pytest.param({}, [BOX, a_run("main", CREATED)], {}, "Pending", id="created"),
        pytest.param({}, [BOX, a_run("main")], {}, "Running", id="running"),
        pytest.param(TWO, [BOX, a_run("a")], {}, "Pending", id="one of two"),
        pytest.param(TWO, [BOX, a_run("a"), a_run("b")], {}, "Running", id="both"),
        pytest.param({}, [BOX, a_run("main", EXITED, 1)], {"waiting": {"main": CRASHED}}, "Running", id="crash loop"),
        pytest.param(INIT, [BOX, a_run("i")], {}, "Pending", id="initializing"),
        pytest.param(INIT, [BOX, a_run("i", EXITED, 1)], {"waiting": {"i": CRASHED}}, "Pending", id="init crashes"),
        pytest.param(INIT, [BOX, a_run("i", EXITED), a_run("main")], {}, "Running", id="initialized"),
        pytest.param({}, [BOX, a_run("main", EXITED, 0)], ENDING, "Succeeded", id="succeeded"),
        pytest.param({}, [BOX, a_run("main", EXITED, 1)], ENDING, "Failed", id="failed"),
        pytest.param(TWO, [BOX, a_run("a", EXITED), a_run("b", EXITED, 2)], ENDING, "Failed", id="one failed"),
        pytest.param(TWO, [BOX, a_run("a", EXITED), a_run("b")], ENDING, "Running", id="ending, one alive"),
        pytest.param(INIT, [BOX, a_run("i", EXITED, 1)], ENDING, "Failed", id="init failed for good"),
        pytest.param(
            SIDECAR,
            [BOX, a_run("i", EXITED, 137), a_run("main", EXITED)],
            {"ending": True},
            "Succeeded",
            id="sidecar killed",
        ),
        pytest.param({}, [], {"verdict": Verdict("OutOfcpu", "no")}, "Failed", id="rejected"),
        pytest.param({}, [BOX, a_run("main")], {"verdict": LATE}, "Running", id="deadline, alive"),
        pytest.param(
            {},
            [BOX, a_run("main", EXITED)],
            {"verdict": LATE},
            "Failed",
            id="deadline, dead",
        ),
    ],
)
def test_phase(pod: MakePod, spec: Any, facts: list[Any], view: Any, phase: str) -> None:
    assert status_of(pod(**spec), *facts, **view).phase == phase


def test_a_terminal_phase_is_final(pod: MakePod) -> None:
    done = pod(restartPolicy="Never")
    done.status.phase = "Failed"
    done.status.reason = "Evicted"
    status = status_of(done, BOX, a_run("main"))
    assert (status.phase, status.reason) == ("Failed", "Evicted")


@pytest.mark.parametrize(
    ("spec", "facts", "view", "expected"),
    [
        pytest.param(
            {},
            [],
            {},
            {
                "PodReadyToStartContainers": ("False", ""),
                "Initialized": ("True", ""),
                "Ready": ("False", "ContainersNotReady"),
                "ContainersReady": ("False", "ContainersNotReady"),
                "PodScheduled": ("True", ""),
            },
            id="nothing yet",
        ),
        pytest.param(
            INIT,
            [BOX],
            {},
            {
                "PodReadyToStartContainers": ("True", ""),
                "Initialized": ("False", "ContainersNotInitialized"),
                "Ready": ("False", "ContainersNotReady"),
                "ContainersReady": ("False", "ContainersNotReady"),
                "PodScheduled": ("True", ""),
            },
            id="initializing",
        ),
        pytest.param(
            {},
            [BOX, a_run("main")],
            {},
            {
                "PodReadyToStartContainers": ("True", ""),
                "Initialized": ("True", ""),
                "Ready": ("True", ""),
                "ContainersReady": ("True", ""),
                "PodScheduled": ("True", ""),
            },
            id="ready",
        ),
        pytest.param(
            {},
            [replace(BOX, ready=False), a_run("main", EXITED)],
            {"ending": True},
            {
                "PodReadyToStartContainers": ("False", ""),
                "Initialized": ("True", "PodCompleted"),
                "Ready": ("False", "PodCompleted"),
                "ContainersReady": ("False", "PodCompleted"),
                "PodScheduled": ("True", ""),
            },
            id="succeeded",
        ),
        pytest.param(
            {},
            [replace(BOX, ready=False), a_run("main", EXITED, 1)],
            {"ending": True},
            {
                "PodReadyToStartContainers": ("False", ""),
                "Initialized": ("True", ""),
                "Ready": ("False", "PodFailed"),
                "ContainersReady": ("False", "PodFailed"),
                "PodScheduled": ("True", ""),
            },
            id="failed",
        ),
    ],
)
def test_conditions(pod: MakePod, spec: Any, facts: list[Any], view: Any, expected: dict[str, Any]) -> None:
    status = status_of(pod(**spec), *facts, **view)
    assert conditions(status) == expected
    assert {condition.observed_generation for condition in status.conditions} == {1}
    assert status.observed_generation == 1


def test_messages_name_the_containers(pod: MakePod) -> None:
    status = status_of(pod(**TWO, **INIT), BOX)
    messages = {condition.type: condition.message for condition in status.conditions}
    assert messages["Initialized"] == "containers with incomplete status: [i]"
    assert messages["Ready"] == "containers with unready status: [a b]"


def test_others_conditions_stay_and_times_move_only_with_the_status(pod: MakePod) -> None:
    known = pod()
    known.status.conditions.add(type="DisruptionTarget", status="True")
    known.status.conditions.add(type="Ready", status="True").last_transition_time.seconds = 5
    known.status.conditions.add(type="ContainersReady", status="False").last_transition_time.seconds = 5
    status = status_of(known, BOX, a_run("main"))
    times = {condition.type: condition.last_transition_time.seconds for condition in status.conditions}
    assert times["Ready"] == 5
    assert times["ContainersReady"] == int(NOW)
    assert status.conditions[0].type == "DisruptionTarget"


def test_readiness_gates(pod: MakePod) -> None:
    gated = pod(readinessGates=[{"conditionType": "example.com/ok"}])
    assert conditions(status_of(gated, BOX, a_run("main")))["Ready"] == ("False", "ReadinessGatesNotReady")
    gated.status.conditions.add(type="example.com/ok", status="True")
    assert conditions(status_of(gated, BOX, a_run("main")))["Ready"] == ("True", "")


def test_a_refused_pod_reports_only_that(pod: MakePod) -> None:
    status = status_of(pod(), verdict=Verdict("OutOfcpu", "Pod was rejected: no"))
    assert (status.phase, status.reason, status.message) == ("Failed", "OutOfcpu", "Pod was rejected: no")
    assert not status.container_statuses


@pytest.mark.parametrize(
    ("spec", "reason"), [({}, "ContainerCreating"), (INIT, "PodInitializing")], ids=["plain", "with init"]
)
def test_the_reason_of_a_container_that_was_never_made(pod: MakePod, spec: Any, reason: str) -> None:
    entry = status_of(pod(**spec), BOX).container_statuses[0]
    assert entry.state.waiting.reason == reason
    assert (entry.ready, entry.started, entry.restart_count, entry.image) == (False, False, 0, "app:1")


def test_a_running_container(pod: MakePod) -> None:
    entry = status_of(pod(), BOX, a_run("main")).container_statuses[0]
    assert entry.state.running.started_at.seconds == int(NOW)
    assert (entry.container_id, entry.image_id) == ("containerd://main0", "sha256:1")
    assert (entry.ready, entry.started) == (True, True)


def test_a_crashed_container_waits_with_its_end_as_last_state(pod: MakePod) -> None:
    crashed = a_run("main", EXITED, 3, attempt=2, message="last words")
    entry = status_of(pod(), BOX, crashed, waiting={"main": CRASHED}).container_statuses[0]
    assert entry.state.waiting.reason == "CrashLoopBackOff"
    assert entry.last_state.terminated.exit_code == 3
    assert (entry.last_state.terminated.reason, entry.last_state.terminated.message) == ("Error", "last words")
    assert entry.restart_count == 2


def test_the_run_before_is_the_last_state_of_a_running_one(pod: MakePod) -> None:
    entry = status_of(pod(), BOX, a_run("main", EXITED, 1), a_run("main", attempt=1)).container_statuses[0]
    assert entry.state.HasField("running")
    assert entry.last_state.terminated.container_id == "containerd://main0"


@pytest.mark.parametrize(
    ("code", "reason", "shown"), [(0, "", "Completed"), (1, "", "Error"), (137, "OOMKilled", "OOMKilled")]
)
def test_reasons_of_ends(pod: MakePod, code: int, reason: str, shown: str) -> None:
    entry = status_of(pod(), BOX, a_run("main", EXITED, code, reason=reason), ending=True).container_statuses[0]
    assert (entry.state.terminated.exit_code, entry.state.terminated.reason) == (code, shown)


PROBES = {"startupProbe": {"exec": {"command": ["s"]}}, "readinessProbe": {"exec": {"command": ["r"]}}}


@pytest.mark.parametrize(
    ("verdicts", "started", "ready"),
    [
        ({}, False, False),
        ({ProbeKind.STARTUP: True}, True, False),
        ({ProbeKind.READINESS: True}, False, False),
        ({ProbeKind.STARTUP: True, ProbeKind.READINESS: True}, True, True),
        ({ProbeKind.STARTUP: True, ProbeKind.READINESS: False}, True, False),
    ],
)
def test_probes_decide_started_and_ready(pod: MakePod, verdicts: Any, started: bool, ready: bool) -> None:
    probed = pod(containers=[{"name": "main", "image": "app:1", **PROBES}])
    probes = {("main0", kind): verdict for kind, verdict in verdicts.items()}
    entry = status_of(probed, BOX, a_run("main"), probes=probes).container_statuses[0]
    assert (entry.started, entry.ready) == (started, ready)


def test_a_finished_init_container_is_ready(pod: MakePod) -> None:
    status = status_of(pod(**INIT), BOX, a_run("i", EXITED), a_run("main"))
    assert status.init_container_statuses[0].ready
    assert conditions(status)["Initialized"] == ("True", "")


def test_addresses_and_qos(pod: MakePod) -> None:
    status = status_of(pod(), BOX, a_run("main"))
    assert (status.host_ip, status.pod_ip) == ("192.0.2.1", "10.0.0.7")
    assert [entry.ip for entry in status.pod_ips] == ["10.0.0.7", "fd00::7"]
    assert status.qos_class == "BestEffort"
    assert status_of(pod(hostNetwork=True), BOX).pod_ip == "192.0.2.1"


def test_resources_and_mounts_of_a_running_container(pod: MakePod) -> None:
    container = {
        "name": "main",
        "image": "app:1",
        "resources": {"requests": {"cpu": "100m"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
    }
    entry = status_of(pod(containers=[container]), BOX, a_run("main")).container_statuses[0]
    assert entry.allocated_resources["cpu"].string == "100m"
    assert (entry.volume_mounts[0].mount_path, entry.volume_mounts[0].recursive_read_only) == ("/v", "Disabled")


def test_a_container_that_has_ended_keeps_what_it_had(pod: MakePod) -> None:
    container = {
        "name": "main",
        "image": "app:1",
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    user = criv1.LinuxContainerUser(uid=1000, gid=1001, supplemental_groups=[1001, 5])
    told = []
    for ended in (False, True):
        run = a_run("main", EXITED if ended else RUNNING)
        made = pod(containers=[container], restartPolicy="Never")
        entry = status_of(made, BOX, replace(run, user=user, stop_signal="SIGUSR1")).container_statuses[0]
        assert entry.state.HasField("terminated") is ended
        told.append(
            (entry.resources, dict(entry.allocated_resources), entry.user, entry.stop_signal, list(entry.volume_mounts))
        )
    assert told[0] == told[1]
    resources, allocated, shown, signal, mounts = told[1]
    assert (resources.limits["memory"].string, allocated["cpu"].string) == ("64Mi", "100m")
    assert (shown.linux.uid, list(shown.linux.supplemental_groups)) == (1000, [1001, 5])
    assert (signal, mounts[0].mount_path) == ("SIGUSR1", "/v")


def test_the_same_view_gives_the_same_bytes(pod: MakePod) -> None:
    first = status_of(pod(), BOX, a_run("main"))
    known = pod()
    known.status.CopyFrom(first)
    view = View(known)
    for fact in (BOX, a_run("main")):
        view.runtime.see(fact)
    assert pod_status(view, NODE, NOW + 100) == first


@pytest.mark.parametrize(("containers", "expected"), [(1, 4096), (3, 4096), (6, 2048)])
def test_the_containers_of_a_pod_share_the_room_for_last_words(pod: MakePod, containers: int, expected: int) -> None:
    names = [f"c{number}" for number in range(containers)]
    runs = [a_run(name, EXITED, message="x" * 4096) for name in names]
    status = status_of(pod(containers=[{"name": name, "image": "app:1"} for name in names]), BOX, *runs)
    states = [entry.state.terminated for entry in status.container_statuses]
    assert [len(state.message) for state in states] == [expected] * containers
