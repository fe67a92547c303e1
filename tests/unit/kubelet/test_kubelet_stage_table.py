"""Where each event leads from each stage, before any order is carried out: the life-cycle table, whole."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import EXITED, Container
from navarch.services.kubelet.core.orders import (
    Admitted,
    DeletePod,
    Event,
    Evict,
    Order,
    PodChanged,
    PodRemoved,
    PrepareVolumes,
    Probed,
    ProbeKind,
    ReferencesChanged,
    Rejected,
    ReleaseVolumes,
    Relisted,
    ResizeJudged,
    Seen,
    StopContainer,
    StopSandbox,
    Tick,
)
from navarch.services.kubelet.core.stages import TRANSITIONS, Stage

from .conftest import Node, a_pod

RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}


class Held(Node):
    """Leaves orders of some kinds under way."""

    kinds: tuple[type[Order], ...] = ()

    def held(self, order: Order) -> bool:
        return isinstance(order, self.kinds)


def fresh() -> Held:
    node = Held(
        a_pod(
            restartPolicy="OnFailure",
            initContainers=[{"name": "init", "image": "a"}],
            containers=[
                {"name": "main", "image": "a", "restartPolicy": "OnFailure", "restartPolicyRules": [RULE]},
                {"name": "other", "image": "a"},
            ],
        )
    )
    node.tell(PodChanged(node.machine.view.pod))
    return node


def rejected() -> Held:
    node = fresh()
    node.tell(Rejected("OutOfcpu", "no"))
    return node


def starting() -> Held:
    node = fresh()
    node.kinds = (PrepareVolumes,)
    node.tell(Admitted())
    return node


def initializing() -> Held:
    node = fresh()
    node.tell(Admitted())
    return node


def running() -> Held:
    node = initializing()
    node.pass_time(1)
    node.exit("init", 0)
    node.pass_time(1)
    return node


def resetting() -> Held:
    node = running()
    node.kinds = (StopContainer,)
    node.exit("main", 42)
    return node


def stopping() -> Held:
    node = running()
    node.kinds = (StopContainer,)
    node.delete()
    return node


def releasing() -> Held:
    node = running()
    node.kinds = (ReleaseVolumes, DeletePod)
    node.delete()
    return node


def finished() -> Held:
    node = running()
    node.exit("main", 0)
    node.exit("other", 0)
    return node


def gone() -> Held:
    node = running()
    node.delete()
    return node


def ends(node: Held, **codes: int) -> Seen:
    """Containers end; of those that do not run nothing is told."""
    alive = [run for run in node.machine.view.runtime.alive() if run.name in codes]
    return Seen(tuple(_ended(node, run, codes[run.name]) for run in alive))


def _ended(node: Held, run: Container, code: int) -> Container:
    return replace(run, state=EXITED, exit_code=code, finished_at=node.now)


def loses_sandbox(node: Held) -> Seen:
    return Seen(tuple(replace(box, ready=False) for box in node.machine.view.runtime.sandboxes.values()))


def deletes(node: Held) -> PodChanged:
    pod = corev1.Pod()
    pod.CopyFrom(node.machine.view.pod)
    pod.metadata.deletion_timestamp.seconds = int(node.now) + 30
    pod.metadata.deletion_grace_period_seconds = 30
    return PodChanged(pod)


def fails_liveness(node: Held) -> Probed:
    run = node.machine.view.runtime.latest("main")
    return Probed(run.id if run is not None else "", ProbeKind.LIVENESS, False)


STAGES = (fresh, rejected, starting, initializing, running, resetting, stopping, releasing, finished, gone)
EVENTS: dict[str, Callable[[Held], Event]] = {
    "the Pod changes": lambda node: PodChanged(node.machine.view.pod),
    "the Pod is deleted": deletes,
    "the API forgets the Pod": lambda _: PodRemoved(),
    "the node admits it": lambda _: Admitted(),
    "the node rejects it": lambda _: Rejected("OutOfcpu", "no"),
    "the node evicts it": lambda _: Evict("Evicted", "pressure", 0),
    "a container crashes": lambda node: ends(node, main=1),
    "all containers succeed": lambda node: ends(node, main=0, other=0),
    "an init container fails": lambda node: ends(node, init=1),
    "a container asks for all anew": lambda node: ends(node, main=42),
    "the sandbox is lost": loses_sandbox,
    "the runtime knows nothing": lambda _: Relisted((), 1_000_000),
    "a liveness probe fails": fails_liveness,
    "a resize is judged": lambda _: ResizeJudged(None),
    "an object appears": lambda _: ReferencesChanged(),
    "time passes": lambda _: Tick(),
}
# Rows: the event. Columns: the stage before. Cells: the stage after, cut short; a dot where it stays as it is.
TABLE = """
stage                        : New    Reject Starti Initia Runnin Resett Stoppi Releas Finish Gone
the Pod changes              : .      .      .      .      .      .      .      .      .      .
the Pod is deleted           : Releas Releas Stoppi Stoppi Stoppi Stoppi .      .      Releas .
the API forgets the Pod      : Releas Releas Stoppi Stoppi Stoppi Stoppi .      .      Releas .
the node admits it           : Starti .      .      .      .      .      .      .      .      .
the node rejects it          : Reject .      .      .      .      .      .      .      .      .
the node evicts it           : Releas Releas Stoppi Stoppi Stoppi Stoppi .      .      .      .
a container crashes          : .      .      .      .      .      .      .      .      .      .
all containers succeed       : .      .      .      .      Releas Initia Releas .      .      .
an init container fails      : .      .      .      .      .      .      .      .      .      .
a container asks for all anew: .      .      .      .      Resett .      .      .      .      .
the sandbox is lost          : .      .      .      Starti Starti Starti .      .      .      .
the runtime knows nothing    : .      .      .      Starti Starti Starti Releas .      .      .
a liveness probe fails       : .      .      .      .      .      .      .      .      .      .
a resize is judged           : .      .      .      .      .      .      .      .      .      .
an object appears            : .      .      .      .      .      .      .      .      .      .
time passes                  : .      .      .      .      .      .      .      .      .      .
"""


def expected() -> dict[tuple[str, Stage], Stage]:
    lines = [line.partition(":") for line in TABLE.strip().splitlines()]
    (_, _, header), *rows = lines
    befores = [_stage(cell) for cell in header.split()]
    return {
        (event.strip(), before): before if cell == "." else _stage(cell)
        for event, _, cells in rows
        for before, cell in zip(befores, cells.split(), strict=True)
    }


def _stage(cell: str) -> Stage:
    (found,) = [stage for stage in Stage if stage.value.startswith(cell)]
    return found


def test_every_stage_and_every_kind_of_event_is_in_the_table() -> None:
    assert {make().stage for make in STAGES} == set(Stage)
    assert set(expected()) == {(event, stage) for event in EVENTS for stage in Stage}
    kinds = {type(event(running())) for event in EVENTS.values()}
    # Answers to orders and removals are facts and failures, whose consequences the other rows show.
    assert {kind.__name__ for kind in Event.__args__} - {kind.__name__ for kind in kinds} == {  # type: ignore[attr-defined]
        "Done",
        "Failed",
        "Removed",
    }


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("make", STAGES, ids=[make.__name__ for make in STAGES])
def test_where_it_leads(make: Callable[[], Held], event: str) -> None:
    node = make()
    before = node.stage
    node.now += 1
    node.machine.handle(EVENTS[event](node), node.now)
    assert node.stage is expected()[event, before]
    assert node.stage == before or node.stage in TRANSITIONS[before]


@pytest.mark.parametrize(("kind", "has_left"), [(StopContainer, False), (StopSandbox, False), (ReleaseVolumes, True)])
def test_a_pod_gives_up_its_place_with_its_sandbox(kind: type[Order], has_left: bool) -> None:
    node = Held(a_pod())
    node.begin()
    node.kinds = (kind,)
    node.delete()
    assert node.stage in (Stage.STOPPING, Stage.RELEASING)
    assert node.machine.has_left is has_left
