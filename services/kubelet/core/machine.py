"""One Pod's life on this node: events and the time in, orders out.

Level-triggered: each event changes what is known (`View`, `PodRuntime`), then the stage and the orders are
computed afresh from all of it. Nothing depends on having seen an event, so a machine built after a restart
from the runtime's list and the API's Pod continues where the last one died. What cannot be read back
(pulled images, backoff, hooks that ran) is memory that only costs time when lost.

Every order is answered by `Done` or `Failed`; a failed one is held back with exponential delay. `wake_at` is
the next moment at which time alone changes something.
"""

from collections import deque
from collections.abc import Callable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core import events_text as text
from navarch.services.kubelet.core.backoff import INITIAL_S, LONGEST_S, Backoff
from navarch.services.kubelet.core.containers import Containers
from navarch.services.kubelet.core.knowledge import FORCED_GRACE_S, Knowledge
from navarch.services.kubelet.core.memory import Memory
from navarch.services.kubelet.core.orders import (
    DeletePod,
    Event,
    Key,
    Order,
    PrepareVolumes,
    ReleaseVolumes,
    RemoveSandbox,
    RunSandbox,
    StartContainer,
    StopSandbox,
)
from navarch.services.kubelet.core.resizes import outstanding, resize_orders
from navarch.services.kubelet.core.stages import TRANSITIONS, IllegalTransition, Stage
from navarch.services.kubelet.core.view import Verdict

DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class PodMachine:
    """The state machine of one Pod. Not thread-safe; never blocks."""

    def __init__(self, pod: corev1.Pod, longest_crash_wait_s: float = LONGEST_S) -> None:
        self._memory = Memory(crashes=Backoff(min(INITIAL_S, longest_crash_wait_s), longest_crash_wait_s))
        self._known = Knowledge(pod, self._memory)
        self.view = self._known.view
        self.stage = Stage.NEW
        self.history: deque[str] = deque([Stage.NEW.value], maxlen=16)
        self._containers = Containers(self.view, self._memory)

    @property
    def in_flight(self) -> dict[Key, Order]:
        """The orders that were given and not yet answered."""
        return self._memory.in_flight

    @property
    def memory(self) -> Memory:
        """What it remembers beside the view; only to be read."""
        return self._memory

    @property
    def wake_at(self) -> float | None:
        """When time alone changes something (Unix seconds)."""
        return self._memory.notes.wake_at

    @property
    def runs_nothing(self) -> bool:
        """Whether it holds no resources of the node any more."""
        return self.stage in (Stage.REJECTED, Stage.FINISHED, Stage.GONE)

    @property
    def has_left(self) -> bool:
        """Whether another may have its place: it has at most files and its name to give back."""
        is_released = self.stage == Stage.RELEASING and self.view.runtime.ready_sandbox() is None
        return self.runs_nothing or is_released

    @property
    def is_settled(self) -> bool:
        """Whether what runs of it has the resources that it was granted, so that its cgroup has them, too."""
        return self.stage in (Stage.INITIALIZING, Stage.RUNNING) and not outstanding(self.view)

    @property
    def awaits_admission(self) -> bool:
        """Whether the node has yet to say whether it takes the Pod."""
        return self.stage == Stage.NEW

    @property
    def volumes_ready(self) -> bool:
        """Whether its volumes are there."""
        return self._known.volumes_ready

    def handle(self, event: Event, now: float) -> list[Order]:
        """Take in one event. now: Unix seconds. Returns the orders to carry out, in order."""
        notes = self._memory.notes
        notes.emitted = []
        if not self._known.take(event, now, awaits_admission=self.awaits_admission):
            return []
        notes.wake_at = None
        self._enter(self._stage_now(now))
        orders = self._give(self._plans()[self.stage](now), now)
        return [*notes.emitted, *orders]

    def _give(self, planned: list[Order], now: float) -> list[Order]:
        """The orders that may be given now; they are under way from here on."""
        given = [order for order in planned if self._memory.is_free(order, now)]
        for order in given:
            self.in_flight[order.key] = order
            if isinstance(order, StartContainer):
                self.view.starting.add(order.container)
        return given

    def check_invariants(self) -> None:
        """Raise AssertionError where the machine contradicts itself."""
        starts = [key for key in self.in_flight if key[0] == "start"]
        if self.stage in (Stage.RELEASING, Stage.FINISHED, Stage.GONE) and (starts or self.view.runtime.alive()):
            raise AssertionError(f"{self.view.name}: {self.stage} with live containers")
        if self.stage == Stage.GONE and self.view.runtime.sandboxes:
            raise AssertionError(f"{self.view.name}: gone, but sandboxes are left")

    # Where it stands

    def _stage_now(self, now: float) -> Stage:
        view, runtime = self.view, self.view.runtime
        if self.stage == Stage.GONE:
            return Stage.GONE
        self._check_deadline(now)
        view.begin_rounds(now)
        if not view.ending and view.verdict is None and not self._known.admitted:
            return Stage.NEW
        if view.verdict is not None and not self._known.admitted and not view.ending:
            return Stage.REJECTED
        if view.ending or view.has_ended():
            view.ending = True
            return self._ending_stage()
        if not self._known.volumes_ready or runtime.ready_sandbox() is None:
            return Stage.STARTING
        if view.round_began and any(map(view.is_past, runtime.alive())):
            return Stage.RESETTING
        return Stage.RUNNING if view.initialization(runtime.ready_sandbox()).complete(view.pod) else Stage.INITIALIZING

    def _ending_stage(self) -> Stage:
        runtime = self.view.runtime
        if runtime.alive() or any(key[0] in ("start", "sandbox", "volumes") for key in self.in_flight):
            return Stage.STOPPING
        if not self._known.volumes_released or any(id_ not in self._memory.released for id_ in runtime.sandboxes):
            return Stage.RELEASING
        if not (self.view.deleted or self._known.api_gone):
            return Stage.FINISHED
        return Stage.GONE if self._known.api_gone and self._nothing_left() else Stage.RELEASING

    def _nothing_left(self) -> bool:
        runtime = self.view.runtime
        return self._known.directories_removed and not runtime.sandboxes and not self._containers.removable()

    def _check_deadline(self, now: float) -> None:
        pod = self.view.pod
        if (
            self.view.ending
            or not pod.spec.HasField("active_deadline_seconds")
            or not pod.status.HasField("start_time")
        ):
            return
        deadline = pod.status.start_time.seconds + pod.spec.active_deadline_seconds
        if now < deadline:
            self._memory.notes.wake(deadline)
            return
        self.view.verdict = Verdict("DeadlineExceeded", DEADLINE_MESSAGE)
        self._memory.notes.emit("Normal", "DeadlineExceeded", DEADLINE_MESSAGE)
        self._known.stop_by(now + pod.spec.termination_grace_period_seconds)

    def _enter(self, target: Stage) -> None:
        if target == self.stage:
            return
        if target not in TRANSITIONS[self.stage]:
            raise IllegalTransition(self.view.name, self.stage, target, tuple(self.history))
        self.stage = target
        self.history.append(target.value)

    # What to do

    def _plans(self) -> dict[Stage, Callable[[float], list[Order]]]:
        return {
            Stage.NEW: self._nothing,
            Stage.REJECTED: self._nothing,
            Stage.STARTING: self._start_pod,
            Stage.INITIALIZING: self._run_containers,
            Stage.RUNNING: self._run_containers,
            Stage.RESETTING: self._end_round,
            Stage.STOPPING: self._stop_containers,
            Stage.RELEASING: self._release,
            Stage.FINISHED: self._nothing,
            Stage.GONE: self._nothing,
        }

    def _nothing(self, _: float) -> list[Order]:
        return []

    def _start_pod(self, now: float) -> list[Order]:
        """Volumes, then the sandbox; the images of the first containers come meanwhile."""
        orders = self._containers.first_images()
        if not self._known.volumes_ready:
            return [PrepareVolumes(), *orders]
        box = self.view.runtime.sandbox()
        if box is None:
            return [*orders, RunSandbox(0)]
        if box.ready:
            return orders
        if box.id not in self._memory.released:
            self._memory.notes.announce(("changed", box.id), "Normal", "SandboxChanged", text.SANDBOX_CHANGED)
            return [*orders, StopSandbox(box.id)]
        return [*orders, *self._containers.stop_all(now), RunSandbox(box.attempt + 1)]

    def _run_containers(self, now: float) -> list[Order]:
        view = self.view
        if (box := view.runtime.ready_sandbox()) is None:
            return []
        if self._known.resizing and not outstanding(view):
            self._known.resizing = False
            self._memory.notes.emit("Normal", "ResizeCompleted", text.resize("completed", view.pod))
        return [*self._containers.run(box, now), *resize_orders(view, box)]

    def _end_round(self, _: float) -> list[Order]:
        view = self.view
        self._memory.notes.announce(
            ("round", str(view.round_began)), "Normal", "RestartAllContainers", text.RESTART_ALL
        )
        return self._containers.stop_all(view.round_began + view.pod.spec.termination_grace_period_seconds)

    def _stop_containers(self, now: float) -> list[Order]:
        pod = self.view.pod
        graces = (pod.spec.termination_grace_period_seconds, pod.metadata.deletion_grace_period_seconds, FORCED_GRACE_S)
        if self._known.stop_deadline is None:
            self._known.stop_by(now + pod.spec.termination_grace_period_seconds)
        # One further away was reckoned before the clock was set back.
        self._known.stop_by(now + max(graces))
        return self._containers.stop_all(self._known.stop_deadline or now)

    def _release(self, _: float) -> list[Order]:
        """Give back sandboxes and volumes; of a deleted Pod, everything, while the API forgets it."""
        runtime = self.view.runtime
        held = [StopSandbox(id_) for id_ in runtime.sandboxes if id_ not in self._memory.released]
        if held:
            return list(held)
        if not self._known.volumes_released:
            return [ReleaseVolumes(everything=False)]
        if not (self.view.deleted or self._known.api_gone):
            return []
        orders: list[Order] = [] if self._known.api_gone else [DeletePod()]
        removable = self._containers.removable()
        if removable:
            return [*orders, *removable]
        if runtime.sandboxes:
            return [*orders, *(RemoveSandbox(id_) for id_ in runtime.sandboxes)]
        return orders if self._known.directories_removed else [*orders, ReleaseVolumes(everything=True)]
