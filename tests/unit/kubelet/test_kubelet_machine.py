"""One Pod's life: the table of stages, and the orders at each of them, in virtual time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import EXITED, RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    DeletePod,
    EnsureImage,
    Failed,
    PodChanged,
    PodRemoved,
    PrepareVolumes,
    Probed,
    ProbeKind,
    ReferencesChanged,
    Rejected,
    ReleaseVolumes,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    Seen,
    StartContainer,
    StopContainer,
    StopSandbox,
    Tick,
)
from navarch.services.kubelet.core.stages import TRANSITIONS, IllegalTransition, Stage

MakeNode = Callable[..., Any]


def test_every_stage_is_in_the_table_and_reachable() -> None:
    assert set(TRANSITIONS) == set(Stage)
    assert set().union(*TRANSITIONS.values()) == set(Stage) - {Stage.NEW}
    assert TRANSITIONS[Stage.GONE] == frozenset()
    for source, targets in TRANSITIONS.items():
        assert source not in targets


@pytest.mark.parametrize(
    ("source", "target"),
    [(source, target) for source in Stage for target in Stage if target not in TRANSITIONS[source] | {source}],
)
def test_an_illegal_transition_names_both_and_changes_nothing(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod], source: Stage, target: Stage
) -> None:
    machine = fresh_node(pod()).machine
    machine.stage = source
    with pytest.raises(IllegalTransition, match=f"default/web: {source} -> {target}"):
        machine._enter(target)
    assert machine.stage is source


def test_a_pod_comes_up_in_order(node: MakeNode) -> None:
    up = node()
    assert [type(order) for order in up.log] == [PrepareVolumes, EnsureImage, RunSandbox, StartContainer]
    assert up.stage is Stage.RUNNING
    assert up.machine.wake_at is None


def test_nothing_happens_before_admission(fresh_node: MakeNode, pod: Callable[..., corev1.Pod]) -> None:
    new = fresh_node(pod())
    new.tell(PodChanged(pod()))
    assert new.log == []
    assert new.machine.awaits_admission


def test_a_rejected_pod_runs_nothing_and_goes_when_deleted(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod]
) -> None:
    refused = fresh_node(pod())
    refused.tell(PodChanged(pod()))
    refused.tell(Rejected("OutOfcpu", "Pod was rejected: no"))
    assert (refused.stage, refused.log) == (Stage.REJECTED, [])
    refused.delete()
    assert refused.stage is Stage.GONE
    assert [type(order) for order in refused.log] == [ReleaseVolumes, DeletePod, ReleaseVolumes]


def test_init_containers_run_one_after_the_other(node: MakeNode) -> None:
    up = node(initContainers=[{"name": "one", "image": "a"}, {"name": "two", "image": "b"}])
    assert (up.started(), up.stage) == ([("one", 0)], Stage.INITIALIZING)
    up.exit("one", 0)
    assert up.started() == [("one", 0), ("two", 0)]
    up.exit("two", 0)
    assert up.started()[-1] == ("main", 0)
    assert up.stage is Stage.RUNNING


def test_a_failed_init_container_is_retried_with_backoff(node: MakeNode) -> None:
    up = node(initContainers=[{"name": "one", "image": "a"}])
    up.exit("one", 1)
    up.exit("one", 1)
    assert up.started() == [("one", 0), ("one", 1)]
    assert up.waiting("one") == "CrashLoopBackOff"
    assert up.sleep_until_woken() == 10.0
    assert up.started()[-1] == ("one", 2)


def test_a_failed_init_container_ends_a_pod_that_never_restarts(node: MakeNode) -> None:
    up = node(restartPolicy="Never", initContainers=[{"name": "one", "image": "a"}])
    up.exit("one", 1)
    assert up.stage is Stage.FINISHED
    assert up.started() == [("one", 0)]


def test_a_sidecar_runs_beside_and_is_stopped_last(node: MakeNode) -> None:
    sidecars = [{"name": name, "image": "s", "restartPolicy": "Always"} for name in ("s1", "s2")]
    up = node(initContainers=sidecars)
    assert up.started() == [("s1", 0), ("s2", 0), ("main", 0)]
    up.exit("s1", 0)
    assert up.started()[-1] == ("s1", 1)
    up.delete()
    assert [order.container for order in up.orders(StopContainer)] == ["main", "s2", "s1"]


def test_sidecars_end_when_the_work_is_done(node: MakeNode) -> None:
    up = node(restartPolicy="Never", initContainers=[{"name": "s", "image": "s", "restartPolicy": "Always"}])
    up.exit("main", 0)
    assert [order.container for order in up.orders(StopContainer)] == ["s"]
    assert up.stage is Stage.FINISHED


def test_crashes_wait_ten_seconds_doubling_to_five_minutes(node: MakeNode) -> None:
    up = node()
    up.exit("main", 1)
    waits = []
    for _ in range(8):
        up.exit("main", 1)
        assert up.waiting("main") == "CrashLoopBackOff"
        waits.append(up.sleep_until_woken())
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert up.started()[-1] == ("main", 9)
    assert {emit.reason for emit in up.events} == {"BackOff"}


def test_ten_good_minutes_forget_the_crashes(node: MakeNode) -> None:
    up = node()
    for _ in range(3):
        up.exit("main", 1)
        if up.machine.wake_at:
            up.sleep_until_woken()
    up.pass_time(601)
    before = len(up.started())
    up.exit("main", 1)
    assert len(up.started()) == before + 1


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(node: MakeNode, policy: str, code: int, restarts: bool) -> None:
    up = node(restartPolicy=policy)
    up.exit("main", code)
    assert (len(up.started()) == 2) is restarts
    assert up.stage is (Stage.RUNNING if restarts else Stage.FINISHED)


def test_a_container_rule_overrides_never(node: MakeNode) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    up = node(restartPolicy="Never", containers=[{"name": "main", "image": "a", "restartPolicyRules": rules}])
    up.exit("main", 42)
    assert up.started() == [("main", 0), ("main", 1)]
    up.exit("main", 1)
    assert up.stage is Stage.FINISHED


def test_a_finished_pod_gives_its_sandbox_back_and_keeps_its_containers(node: MakeNode) -> None:
    up = node(restartPolicy="Never")
    up.exit("main", 0)
    assert [type(order) for order in up.log[-2:]] == [StopSandbox, ReleaseVolumes]
    assert up.machine.view.runtime.latest("main") is not None
    assert up.orders(RemoveContainer, DeletePod) == []


def test_deletion_stops_releases_deletes_and_leaves_nothing(node: MakeNode) -> None:
    up = node()
    up.delete(grace_s=5)
    stop = up.orders(StopContainer)[0]
    assert stop.deadline == up.now + 5
    kinds = [type(order) for order in up.log[-7:]]
    assert kinds == [
        StopContainer,
        StopSandbox,
        ReleaseVolumes,
        DeletePod,
        RemoveContainer,
        RemoveSandbox,
        ReleaseVolumes,
    ]
    assert up.stage is Stage.GONE
    assert [emit.message for emit in up.events] == ["Stopping container main"]


def test_a_shorter_grace_is_a_new_stop_and_a_longer_one_is_not(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod]
) -> None:
    up = fresh_node(pod())
    up.held = lambda order: isinstance(order, StopContainer)
    up.begin()
    up.delete(grace_s=30)
    up.delete(grace_s=60)
    up.delete(grace_s=2)
    assert [order.deadline - up.now for order in up.orders(StopContainer)] == [30, 2]
    up.tell(PodRemoved())
    assert up.orders(StopContainer)[-1].deadline - up.now == 1


def test_a_pod_deleted_while_it_starts_waits_for_the_start_and_ends(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod]
) -> None:
    up = fresh_node(pod())
    held = []
    up.held = lambda order: isinstance(order, StartContainer) and not held.append(order)
    up.begin()
    up.delete()
    assert (up.stage, up.orders(StopSandbox)) == (Stage.STOPPING, [])
    up.held = lambda order: False
    up.tell(up.carry_out(held[0]))
    assert up.stage is Stage.GONE
    assert len(up.orders(StopContainer)) == 1


def test_a_failed_pull_turns_into_backoff_and_is_retried(node: MakeNode, fresh_node: MakeNode, pod: Any) -> None:
    up = fresh_node(pod())
    up.refuse["image"] = ("ErrImagePull", "no such manifest")
    up.begin()
    assert up.waiting("main") == "ErrImagePull"
    assert up.sleep_until_woken() == 2.0
    assert up.waiting("main") == "ImagePullBackOff"
    assert "ErrImagePull: no such manifest" in up.machine.view.waiting["main"].message
    assert up.sleep_until_woken() == 8.0
    assert up.waiting("main") == "ErrImagePull"
    del up.refuse["image"]
    while up.machine.wake_at:
        up.sleep_until_woken()
    assert up.started() == [("main", 0)]


def test_a_missing_reference_is_retried_when_it_appears(fresh_node: MakeNode, pod: Any) -> None:
    up = fresh_node(pod())
    up.refuse["start"] = ("CreateContainerConfigError", 'configmap "conf" not found')
    up.begin()
    assert up.waiting("main") == "CreateContainerConfigError"
    up.tell(Tick())
    assert len(up.started()) == 1
    del up.refuse["start"]
    up.tell(ReferencesChanged())
    assert up.stage is Stage.RUNNING
    assert up.waiting("main") == ""


@pytest.mark.parametrize(
    ("kind", "reason", "first_s"), [("volumes", "FailedMount", 0.5), ("sandbox", "FailedCreatePodSandBox", 1.0)]
)
def test_failures_on_the_way_up_are_reported_and_retried_ever_later(
    fresh_node: MakeNode, pod: Any, kind: str, reason: str, first_s: float
) -> None:
    up = fresh_node(pod())
    up.refuse[kind] = ("Error", "broken")
    up.begin()
    assert [up.sleep_until_woken() for _ in range(3)] == [first_s, 2 * first_s, 4 * first_s]
    assert {emit.reason for emit in up.events} == {reason}
    del up.refuse[kind]
    up.sleep_until_woken()
    assert up.stage is Stage.RUNNING


def test_a_crashed_container_does_not_wait_for_a_clock_that_was_set_back(node: MakeNode) -> None:
    up = node()
    up.exit("main", 1)
    up.exit("main", 1)
    up.pass_time(-3600)
    assert up.started()[-1] == ("main", 2)


def test_a_container_that_exits_a_thousand_times_is_held_back_and_leaves_two_runs(node: MakeNode) -> None:
    up = node()
    for number in range(1, 1001):
        up.exit("main", 1)
        waited = up.sleep_until_woken() if up.machine.wake_at is not None else 0.0
        assert waited <= 300
        assert up.started()[-1] == ("main", number)
        assert len(list(up.machine.view.runtime.runs("main"))) <= 2
    assert len(up.events) <= 1000


@pytest.mark.parametrize("jump_s", [-86_400.0, -60.0, 60.0, 86_400.0])
def test_a_clock_that_jumps_ends_no_container_and_starts_none(node: MakeNode, jump_s: float) -> None:
    up = node(initContainers=[{"name": "side", "image": "s", "restartPolicy": "Always"}])
    before = list(up.log)
    up.pass_time(jump_s)
    assert (up.log, up.stage) == (before, Stage.RUNNING)


def test_a_clock_that_was_set_back_gives_nobody_more_grace(node: MakeNode) -> None:
    up = node(initContainers=[{"name": "side", "image": "s", "restartPolicy": "Always"}])
    up.held = lambda order: isinstance(order, StopContainer) and order.container == "main"
    up.delete()
    (stop,) = up.orders(StopContainer)
    assert stop.deadline == up.now + 30
    up.pass_time(-3600)
    assert up.orders(StopContainer)[-1].deadline == up.now + 30
    up.held = lambda order: False
    up.exit("main", 143)
    assert up.orders(StopContainer)[-1].container == "side"
    assert up.orders(StopContainer)[-1].deadline <= up.now + 30


def test_a_failed_order_does_not_wait_for_a_clock_that_was_set_back(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod]
) -> None:
    up = fresh_node(pod())
    up.refuse["image"] = ("ErrImagePull", "no")
    up.begin()
    assert len(up.orders(EnsureImage)) == 1
    up.pass_time(-3600)
    assert len(up.orders(EnsureImage)) == 2
    assert up.sleep_until_woken() <= 20


def test_a_failed_start_that_left_a_run_is_a_crash(fresh_node: MakeNode, pod: Any) -> None:
    up = fresh_node(pod())
    original = up.carry_out

    def fail(order: Any) -> Any:
        if not isinstance(order, StartContainer):
            return original(order)
        run = Container(f"x{order.attempt}", "main", order.attempt, order.sandbox.id, EXITED, up.now, exit_code=128)
        return Failed(order, "RunContainerError", "exec: not found", (run,))

    up.carry_out = fail
    up.begin()
    assert up.started() == [("main", 0), ("main", 1)]
    assert up.waiting("main") == "CrashLoopBackOff"
    assert up.sleep_until_woken() == 10.0


def test_a_failed_liveness_probe_restarts_with_its_own_grace(node: MakeNode) -> None:
    probe = {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 3}
    up = node(containers=[{"name": "main", "image": "a", "livenessProbe": probe}])
    run = up.machine.view.runtime.latest("main")
    up.tell(Probed(run.id, ProbeKind.LIVENESS, False))
    assert up.orders(StopContainer)[0].deadline == up.now + 3
    assert up.started() == [("main", 0), ("main", 1)]
    assert up.events[0].message == "Container main failed liveness probe, will be restarted"


def test_a_failed_readiness_probe_restarts_nothing(node: MakeNode) -> None:
    up = node(containers=[{"name": "main", "image": "a", "readinessProbe": {"exec": {"command": ["x"]}}}])
    run = up.machine.view.runtime.latest("main")
    up.tell(Probed(run.id, ProbeKind.READINESS, False))
    assert up.orders(StopContainer) == []


def test_a_changed_image_restarts_the_container(node: MakeNode, pod: Any) -> None:
    up = node()
    run = up.machine.view.runtime.latest("main")
    up.machine.view.runtime.containers[run.id] = replace(run, hash="other")
    up.tell(Tick())
    assert up.started() == [("main", 0), ("main", 1)]
    assert up.events[0].message == "Container main definition changed, will be restarted"


def test_the_deadline_of_a_pod_ends_it(node: MakeNode, pod: Any) -> None:
    limited = pod(activeDeadlineSeconds=60)
    up = node(activeDeadlineSeconds=60)
    limited.status.start_time.seconds = int(up.now)
    up.tell(PodChanged(limited))
    assert up.sleep_until_woken() == 60
    assert up.stage is Stage.FINISHED
    assert up.machine.view.verdict.reason == "DeadlineExceeded"


def test_only_the_newest_two_runs_are_kept(node: MakeNode) -> None:
    up = node()
    for _ in range(4):
        up.exit("main", 1)
        if up.machine.wake_at:
            up.sleep_until_woken()
    assert sorted(run.attempt for run in up.machine.view.runtime.runs("main")) == [3, 4]


def test_an_orphan_is_ended_without_asking_the_api(fresh_node: MakeNode) -> None:
    stub = corev1.Pod()
    stub.metadata.uid = "gone"
    up = fresh_node(stub)
    up.tell(Seen((Sandbox("b", 0, True, up.now), Container("c", "main", 0, "b", RUNNING, up.now, up.now))))
    up.tell(PodRemoved())
    assert up.stage is Stage.GONE
    assert up.orders(DeletePod) == []
    assert len(up.orders(RemoveSandbox)) == 1
