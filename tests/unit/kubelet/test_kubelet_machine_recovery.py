"""What a Pod's machine makes of losses, restarts of the kubelet, and whatever else happens in whatever order."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.container_hash import container_hash
from navarch.services.kubelet.core.observed import CREATED, EXITED, RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    Admitted,
    PodChanged,
    PodRemoved,
    PrepareVolumes,
    ReferencesChanged,
    Relisted,
    RemoveContainer,
    RunSandbox,
    Seen,
    StartContainer,
)
from navarch.services.kubelet.core.stages import Stage

MakeNode = Callable[..., Any]


def test_a_lost_sandbox_is_replaced_and_everything_starts_again(node: MakeNode) -> None:
    up = node(initContainers=[{"name": "one", "image": "a"}])
    up.exit("one", 0)
    box = up.machine.view.runtime.sandbox()
    main = up.machine.view.runtime.latest("main")
    up.tell(Seen((replace(box, ready=False), replace(main, state=EXITED, exit_code=137, finished_at=up.now))))
    assert [order.attempt for order in up.orders(RunSandbox)] == [0, 1]
    assert up.started()[-1] == ("one", 1)
    assert any(emit.reason == "SandboxChanged" for emit in up.events)


def test_a_pod_that_never_restarts_gets_no_second_sandbox(node: MakeNode) -> None:
    up = node(restartPolicy="Never")
    box = up.machine.view.runtime.sandbox()
    main = up.machine.view.runtime.latest("main")
    up.tell(Seen((replace(box, ready=False), replace(main, state=EXITED, exit_code=137, finished_at=up.now))))
    assert up.stage is Stage.FINISHED
    assert len(up.orders(RunSandbox)) == 1


def test_a_vanished_container_counts_as_a_run(node: MakeNode) -> None:
    up = node()
    up.tell(Relisted((up.machine.view.runtime.sandbox(),), sequence=9))
    lost = up.machine.view.runtime.previous("main")
    assert (lost.reason, lost.exit_code) == ("ContainerStatusUnknown", 137)
    assert up.started() == [("main", 0), ("main", 1)]


def test_a_container_left_created_is_started_and_no_other_made(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod]
) -> None:
    known = pod()
    up = fresh_node(known)
    box = Sandbox("b", 0, True, up.now, ("10.0.0.1",))
    hash_ = container_hash(known.spec.containers[0])
    up.tell(Seen((box, Container("half", "main", 0, "b", CREATED, up.now, hash=hash_))))
    up.begin()
    assert not up.orders(RemoveContainer)
    assert [(order.attempt, order.created) for order in up.orders(StartContainer)] == [(0, "half")]


@pytest.mark.parametrize("cause", ["it cannot be started", "it is of another definition", "its sandbox is lost"])
def test_a_container_left_created_that_is_of_no_use_is_removed_and_started_with_the_same_count(
    fresh_node: MakeNode, pod: Callable[..., corev1.Pod], cause: str
) -> None:
    known = pod()
    up = fresh_node(known)
    box = Sandbox("b", 0, True, up.now, ("10.0.0.1",))
    hash_ = "" if "definition" in cause else container_hash(known.spec.containers[0])
    in_ = "lost" if "lost" in cause else "b"
    if "cannot" in cause:
        up.refuse["start"] = ("RunContainerError", "no")
    up.tell(Seen((box, Container("half", "main", 0, in_, CREATED, up.now, hash=hash_))))
    up.begin()
    if "cannot" in cause:
        up.refuse.clear()
        up.sleep_until_woken()
    assert [order.id for order in up.orders(RemoveContainer)] == ["half"]
    assert [order.created for order in up.orders(StartContainer)][-1] == ""
    assert up.started()[-1] == ("main", 0)


def test_after_a_restart_what_runs_is_left_alone(fresh_node: MakeNode, pod: Callable[..., corev1.Pod]) -> None:
    up = fresh_node(pod())
    box = Sandbox("b", 0, True, up.now, ("10.0.0.1",))
    up.tell(Seen((box, Container("c", "main", 4, "b", RUNNING, up.now, up.now))))
    up.tell(PodChanged(pod()))
    assert up.stage is Stage.RUNNING
    assert [type(order) for order in up.log] == [PrepareVolumes]


def test_after_a_reboot_the_restart_count_goes_on(fresh_node: MakeNode, pod: Callable[..., corev1.Pod]) -> None:
    known = pod()
    status = known.status.container_statuses.add(name="main", restart_count=3, container_id="containerd://old")
    status.state.running.started_at.seconds = 1
    up = fresh_node(known)
    up.begin()
    assert up.started() == [("main", 4)]


def test_a_finished_pod_of_before_stays_finished(fresh_node: MakeNode, pod: Callable[..., corev1.Pod]) -> None:
    known = pod(restartPolicy="Never")
    known.status.phase = "Succeeded"
    up = fresh_node(known)
    up.tell(PodChanged(known))
    assert up.stage is Stage.FINISHED
    assert up.started() == []


ACTIONS = st.lists(
    st.sampled_from(["exit0", "exit1", "wake", "box", "lose", "relist", "ghost", "delete", "remove", "references"]),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(
    actions=ACTIONS,
    policy=st.sampled_from(["Always", "OnFailure", "Never"]),
    inits=st.integers(0, 2),
    crash_at=st.integers(0, 13),
)
def test_whatever_happens_no_container_runs_twice_and_a_deleted_pod_goes(
    actions: list[str], policy: str, inits: int, crash_at: int
) -> None:
    from_spec = {"restartPolicy": policy, "initContainers": [{"name": f"i{n}", "image": "i"} for n in range(inits)]}
    up = _NODE(_POD(**from_spec))
    up.begin()
    for step, action in enumerate(actions):
        _act(up, action)
        names = [run.name for run in up.machine.view.runtime.alive()]
        assert len(names) == len(set(names))
        if step == crash_at:
            up = _restarted(up)
    up.delete()
    for _ in range(20):
        if up.stage is Stage.GONE:
            break
        up.sleep_until_woken()
    assert up.stage is Stage.GONE
    assert up.machine.view.runtime.sandboxes == {}


def _act(up: Any, action: str) -> None:
    runtime = up.machine.view.runtime
    alive, box = runtime.alive(), runtime.sandbox()
    if action.startswith("exit") and alive:
        up.exit(alive[0].name, int(action[-1]))
    elif action == "wake" and up.machine.wake_at is not None:
        up.sleep_until_woken()
    elif action == "box" and box is not None:
        dead = [replace(run, state=EXITED, exit_code=137, finished_at=up.now) for run in alive]
        up.tell(Seen((replace(box, ready=False), *dead)))
    elif action == "ghost" and box is not None and "main" not in {run.name for run in alive}:
        # A start that was given up as failed has succeeded after all.
        up.tell(Seen((Container(f"ghost{up.now}", "main", 90, box.id, RUNNING, up.now, up.now),)))
    elif action == "lose":
        up.tell(Relisted(tuple(runtime.sandboxes.values()), sequence=99))
    elif action == "relist":
        facts = [*runtime.sandboxes.values(), *(run for run in runtime.containers.values() if not run.lost)]
        up.tell(Relisted(tuple(facts), sequence=99))
    elif action == "delete":
        up.delete()
    elif action == "remove":
        up.tell(PodRemoved())
    elif action == "references":
        up.tell(ReferencesChanged())


def _restarted(old: Any) -> Any:
    """The kubelet was killed: a new machine learns from the runtime and the API."""
    if old.stage is Stage.GONE:
        return old
    view = old.machine.view
    new = _NODE(view.pod)
    new.now = old.now
    facts = [*view.runtime.sandboxes.values(), *(run for run in view.runtime.containers.values() if not run.lost)]
    new._ids = old._ids
    new.tell(Seen(tuple(facts)))
    new.tell(PodChanged(view.pod))
    if new.machine.awaits_admission:
        new.tell(Admitted())
    return new


@pytest.fixture(autouse=True)
def _makers(fresh_node: MakeNode, pod: Callable[..., corev1.Pod]) -> None:
    """hypothesis cannot take function-scoped fixtures; these two have no state."""
    global _NODE, _POD
    _NODE, _POD = fresh_node, pod


_NODE: Any = None
_POD: Any = None
