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
from dataclasses import replace

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core import events_text as text
from navarch.services.kubelet.core.backoff import INITIAL_S, LONGEST_S, Backoff
from navarch.services.kubelet.core.containers import Containers
from navarch.services.kubelet.core.granted import Pending, with_granted, with_reported
from navarch.services.kubelet.core.memory import Memory
from navarch.services.kubelet.core.observed import EXITED, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    Admitted,
    DeletePod,
    Done,
    EnsureImage,
    Event,
    Evict,
    Failed,
    Key,
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
    RemoveContainer,
    Removed,
    RemoveSandbox,
    ResizeContainer,
    ResizeJudged,
    ResizeSandbox,
    RunSandbox,
    Seen,
    StartContainer,
    StopSandbox,
    Tick,
)
from navarch.services.kubelet.core.recovery import lost_containers, remembered_probes
from navarch.services.kubelet.core.resizes import outstanding, remember_sizes, resize_orders
from navarch.services.kubelet.core.restart import NEVER
from navarch.services.kubelet.core.stages import TRANSITIONS, IllegalTransition, Stage
from navarch.services.kubelet.core.view import Verdict, View, Waiting

FORCED_GRACE_S = 1.0
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class PodMachine:
    """The state machine of one Pod. Not thread-safe; never blocks."""

    def __init__(self, pod: corev1.Pod, longest_crash_wait_s: float = LONGEST_S) -> None:
        self.view = View(pod)
        self.stage = Stage.NEW
        self.history: deque[str] = deque([Stage.NEW.value], maxlen=16)
        self._memory = Memory(crashes=Backoff(min(INITIAL_S, longest_crash_wait_s), longest_crash_wait_s))
        self._containers = Containers(self.view, self._memory)
        self._stop_deadline: float | None = None
        self._synced = False
        self._admitted = False
        self._api_gone = False
        self._volumes_ready = False
        self._volumes_released = False
        self._directories_removed = False
        self._resizing = False

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
    def awaits_admission(self) -> bool:
        """Whether the node has yet to say whether it takes the Pod."""
        return self.stage == Stage.NEW

    @property
    def volumes_ready(self) -> bool:
        """Whether its volumes are there."""
        return self._volumes_ready

    def handle(self, event: Event, now: float) -> list[Order]:
        """Take in one event. now: Unix seconds. Returns the orders to carry out, in order."""
        notes = self._memory.notes
        notes.emitted = []
        if not self._absorb(event, now):
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

    # What is known

    def _absorb(self, event: Event, now: float) -> bool:
        """Take a fact in. Returns whether anything may have changed."""
        view, runtime = self.view, self.view.runtime
        match event:
            case PodChanged(pod) if self._synced and _version(pod) < _version(view.pod):
                # An answer to a report of ours may come after what the watch has told since.
                return False
            case PodChanged(pod):
                self._compare_images(pod)
                view.take(with_granted(pod, view.pod) if self._synced else with_reported(pod), pod)
                if not self._synced:
                    self._recover(now)
                if view.deleted:
                    grace_s = max(float(pod.metadata.deletion_grace_period_seconds), FORCED_GRACE_S)
                    self._stop_by(now + grace_s)
            case PodRemoved():
                self._api_gone = True
                self._stop_by(now + FORCED_GRACE_S)
            case Admitted() | Rejected() if not self.awaits_admission:
                # Said once, of a new Pod.
                return False
            case Admitted():
                self._admitted = True
            case Rejected(reason, message):
                view.verdict = Verdict(reason, message)
                self._memory.notes.emit("Warning", reason, message.removeprefix(text.REJECTED))
            case ResizeJudged(pending):
                return self._judged(pending)
            case Evict(reason, message, grace_s, condition):
                view.verdict = Verdict(reason, message, condition)
                self._stop_by(now + grace_s)
            case Seen(facts, sequence):
                return self._see(facts, sequence)
            case Relisted(facts, sequence):
                changed = self._see(facts, sequence)
                return runtime.relisted((fact.id for fact in facts), sequence, now) or changed
            case Removed(id_):
                return runtime.forget(id_)
            case Done():
                self._done(event)
            case Failed():
                self._failed(event, now)
            case Probed(container_id, kind, healthy):
                self._probed(container_id, kind, healthy, now)
            case ReferencesChanged():
                self._memory.retries.allow_kinds("volumes", "start")
            case Tick():
                pass
        return True

    def _compare_images(self, pod: corev1.Pod) -> None:
        for container in [*pod.spec.init_containers, *pod.spec.containers]:
            before = self.view.container(container.name)
            if before is not None and before.image != container.image:
                self._memory.image_changed(container.name)
                self.view.waiting.pop(container.name, None)

    def _see(self, facts: tuple[Sandbox | Container, ...], sequence: int = 0) -> bool:
        changed = [self.view.runtime.see(fact, sequence) for fact in facts]
        return any(changed)

    def _recover(self, now: float) -> None:
        self._synced = True
        self.view.probes.update(remembered_probes(self.view.pod))
        for container in lost_containers(self.view.pod, self.view.runtime, now):
            self.view.runtime.see(container)
        if self.view.runtime.sandboxes:
            self._admitted = True
        if self.view.pod.status.phase in ("Succeeded", "Failed"):
            self.view.ending = True

    def _judged(self, pending: Pending | None) -> bool:
        """Other resources are granted, or not (yet)."""
        view = self.view
        if view.asked is None or pending == view.pending is not None:
            return False
        view.pending = pending
        if pending is not None:
            self._memory.notes.emit("Warning", f"Resize{pending.reason}", text.resize_pending(view.asked, pending))
            return True
        remember_sizes(view)
        view.take(view.asked, view.asked)
        self._resizing = True
        self._memory.notes.emit("Normal", "ResizeStarted", text.resize("started", view.pod))
        return True

    def _stop_by(self, deadline: float) -> None:
        """The deadline of a Pod's end only ever comes nearer."""
        self.view.ending = True
        self._stop_deadline = deadline if self._stop_deadline is None else min(self._stop_deadline, deadline)

    def _done(self, event: Done) -> None:
        order, runtime = event.order, self.view.runtime
        self._close(order)
        self._memory.retries.succeeded(order)
        self._see(event.facts, event.sequence)
        match order:
            case PrepareVolumes():
                self._volumes_ready = True
            case EnsureImage(container) if container not in self._memory.outdated:
                self._memory.images[container] = event.image_ref
            case EnsureImage(container):
                self._memory.outdated.discard(container)
            case StartContainer(container):
                self._memory.images.pop(container, None)
                self.view.waiting.pop(container, None)
            case StopSandbox(id_):
                self._memory.released.add(id_)
                if (box := runtime.sandboxes.get(id_)) is not None:
                    runtime.see(replace(box, ready=False))
            case ResizeContainer(id_, container, sizes):
                self.view.sizes[id_] = sizes
                self.view.resize_errors.pop(container, None)
            case ResizeSandbox(id_, sizes):
                self.view.sizes[id_] = sizes
            case RemoveContainer(id_) | RemoveSandbox(id_):
                runtime.forget(id_)
                self.view.sizes.pop(id_, None)
                self.view.resized.discard(id_)
                self.view.replaced.discard(id_)
            case ReleaseVolumes(everything):
                self._volumes_released = True
                self._volumes_ready = False
                self._directories_removed = everything
            case DeletePod():
                self._api_gone = True

    def _failed(self, event: Failed, now: float) -> None:
        order = event.order
        self._close(order)
        self._see(event.facts, event.sequence)
        if isinstance(order, EnsureImage) and order.container in self._memory.outdated:
            self._memory.outdated.discard(order.container)
            return
        self._memory.retries.failed(order, now)
        match order:
            case EnsureImage(container) | StartContainer(container):
                self._memory.images.pop(container, None)
                self.view.waiting[container] = Waiting(event.reason, event.message, now, event.image)
                if any(isinstance(fact, Container) and fact.state == EXITED for fact in event.facts):
                    # It has become a run that ended, which waits as a crashed one.
                    self._memory.retries.allow(order)
            case ResizeContainer(_, container):
                self.view.resize_errors[container] = event.message
                self._memory.notes.emit("Warning", "ResizeError", text.resize("error", self.view.pod, event.message))
            case RunSandbox():
                self._memory.notes.emit("Warning", "FailedCreatePodSandBox", text.sandbox_failed(event.message))
            case PrepareVolumes():
                self._memory.notes.emit("Warning", "FailedMount", event.message)

    def _close(self, order: Order) -> None:
        self.in_flight.pop(order.key, None)
        if isinstance(order, StartContainer):
            self.view.starting.discard(order.container)

    def _probed(self, container_id: str, kind: ProbeKind, healthy: bool, now: float) -> None:
        self.view.probes[container_id, kind] = healthy
        run = self.view.runtime.containers.get(container_id)
        if healthy or kind == ProbeKind.READINESS or run is None or not run.alive:
            return
        container = self.view.container(run.name)
        if container is not None:
            probe = container.startup_probe if kind == ProbeKind.STARTUP else container.liveness_probe
            grace_s = (
                probe.termination_grace_period_seconds
                if probe.HasField("termination_grace_period_seconds")
                else self.view.pod.spec.termination_grace_period_seconds
            )
            restarts = self.view.policy(container) != NEVER
            if restarts:
                self.view.replaced.add(run.id)
            self._memory.kill(run, text.probe_failed(run.name, kind, restarts=restarts), now + grace_s)

    # Where it stands

    def _stage_now(self, now: float) -> Stage:
        view, runtime = self.view, self.view.runtime
        if self.stage == Stage.GONE:
            return Stage.GONE
        self._check_deadline(now)
        view.begin_rounds(now)
        if not view.ending and view.verdict is None and not self._admitted:
            return Stage.NEW
        if view.verdict is not None and not self._admitted and not view.ending:
            return Stage.REJECTED
        if view.ending or view.has_ended():
            view.ending = True
            return self._ending_stage()
        if not self._volumes_ready or runtime.ready_sandbox() is None:
            return Stage.STARTING
        if view.round_began and any(map(view.is_past, runtime.alive())):
            return Stage.RESETTING
        return Stage.RUNNING if view.initialization(runtime.ready_sandbox()).complete(view.pod) else Stage.INITIALIZING

    def _ending_stage(self) -> Stage:
        runtime = self.view.runtime
        if runtime.alive() or any(key[0] in ("start", "sandbox", "volumes") for key in self.in_flight):
            return Stage.STOPPING
        if not self._volumes_released or any(id_ not in self._memory.released for id_ in runtime.sandboxes):
            return Stage.RELEASING
        if not (self.view.deleted or self._api_gone):
            return Stage.FINISHED
        return Stage.GONE if self._api_gone and self._nothing_left() else Stage.RELEASING

    def _nothing_left(self) -> bool:
        runtime = self.view.runtime
        return self._directories_removed and not runtime.sandboxes and not self._containers.removable()

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
        self._stop_by(now + pod.spec.termination_grace_period_seconds)

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
        if not self._volumes_ready:
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
        if self._resizing and not outstanding(view):
            self._resizing = False
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
        if self._stop_deadline is None:
            self._stop_by(now + pod.spec.termination_grace_period_seconds)
        # One further away was reckoned before the clock was set back.
        self._stop_by(now + max(graces))
        return self._containers.stop_all(self._stop_deadline or now)

    def _release(self, _: float) -> list[Order]:
        """Give back sandboxes and volumes; of a deleted Pod, everything, while the API forgets it."""
        runtime = self.view.runtime
        held = [StopSandbox(id_) for id_ in runtime.sandboxes if id_ not in self._memory.released]
        if held:
            return list(held)
        if not self._volumes_released:
            return [ReleaseVolumes(everything=False)]
        if not (self.view.deleted or self._api_gone):
            return []
        orders: list[Order] = [] if self._api_gone else [DeletePod()]
        removable = self._containers.removable()
        if removable:
            return [*orders, *removable]
        if runtime.sandboxes:
            return [*orders, *(RemoveSandbox(id_) for id_ in runtime.sandboxes)]
        return orders if self._directories_removed else [*orders, ReleaseVolumes(everything=True)]


def _version(pod: corev1.Pod) -> int:
    """0 for one that is in no API server."""
    return int(pod.metadata.resource_version or 0)
