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
from dataclasses import dataclass, replace
from typing import Literal

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core import events_text as text
from navarch.services.kubelet.core.backoff import Backoff
from navarch.services.kubelet.core.container_hash import container_hash
from navarch.services.kubelet.core.observed import CREATED, EXITED, RUNNING, UNKNOWN, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    Admitted,
    DeletePod,
    Done,
    Emit,
    EnsureImage,
    Event,
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
    RunSandbox,
    Seen,
    StartContainer,
    StopContainer,
    StopSandbox,
    Tick,
)
from navarch.services.kubelet.core.recovery import lost_containers, remembered_probes
from navarch.services.kubelet.core.restart import is_sidecar, policy_of, should_restart
from navarch.services.kubelet.core.stages import TRANSITIONS, IllegalTransition, Stage
from navarch.services.kubelet.core.view import Verdict, View, Waiting

Kind = Literal["Normal", "Warning"]

FORCED_GRACE_S = 1.0
# For how long ErrImagePull is shown before it becomes ImagePullBackOff.
PULL_ERROR_SHOWN_S = 2.0
# First and longest delay of an order's retries.
RETRY_DELAYS_S: dict[str, tuple[float, float]] = {
    "volumes": (0.5, 122.0),
    "sandbox": (1.0, 60.0),
    "image": (10.0, 300.0),
    "start": (10.0, 300.0),
}
RETRY_DELAY_OTHERS_S = (1.0, 30.0)
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class _Kill:
    """A live container that must go, and by when (Unix seconds)."""

    message: str
    deadline: float


class PodMachine:
    """The state machine of one Pod. Not thread-safe; never blocks."""

    def __init__(self, pod: corev1.Pod) -> None:
        self.view = View(pod)
        self.stage = Stage.NEW
        self.history: deque[str] = deque([Stage.NEW.value], maxlen=16)
        self.wake_at: float | None = None
        self.in_flight: dict[Key, Order] = {}
        self.stop_deadline: float | None = None
        self._synced = False
        self._admitted = False
        self._api_gone = False
        self._volumes_ready = False
        self._volumes_released = False
        self._directories_removed = False
        self._released: set[str] = set()
        self._images: dict[str, str] = {}
        self._kills: dict[str, _Kill] = {}
        self._announced: set[tuple[str, ...]] = set()
        self._retries = {kind: Backoff(*delays) for kind, delays in RETRY_DELAYS_S.items()}
        self._other_retries = Backoff(*RETRY_DELAY_OTHERS_S)
        self._retry_at: dict[Key, float] = {}
        self._crashes = Backoff()
        self._emitted: list[Emit] = []

    @property
    def runs_nothing(self) -> bool:
        """Whether it holds no resources of the node any more."""
        return self.stage in (Stage.REJECTED, Stage.FINISHED, Stage.GONE)

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
        self._emitted = []
        if not self._absorb(event, now):
            return []
        self.wake_at = None
        self._enter(self._stage_now(now))
        orders = self._admit_orders(self._plans()[self.stage](now), now)
        return [*self._emitted, *orders]

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
            case PodChanged(pod):
                view.pod = pod
                if not self._synced:
                    self._recover(now)
                if view.deleted:
                    grace_s = max(float(pod.metadata.deletion_grace_period_seconds), FORCED_GRACE_S)
                    self._stop_by(now + grace_s)
            case PodRemoved():
                self._api_gone = True
                self._stop_by(now + FORCED_GRACE_S)
            case Admitted():
                self._admitted = True
            case Rejected(reason, message):
                view.verdict = Verdict(reason, message)
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
                held = [key for key in self._retry_at if key[0] in ("volumes", "start")]
                for key in held:
                    del self._retry_at[key]
            case Tick():
                pass
        return True

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

    def _stop_by(self, deadline: float) -> None:
        """The deadline of a Pod's end only ever comes nearer."""
        self.view.ending = True
        self.stop_deadline = deadline if self.stop_deadline is None else min(self.stop_deadline, deadline)

    def _done(self, event: Done) -> None:
        order, runtime = event.order, self.view.runtime
        self._close(order)
        self._backoff(order).reset(str(order.key[:2]))
        self._retry_at.pop(order.key, None)
        self._see(event.facts, event.sequence)
        match order:
            case PrepareVolumes():
                self._volumes_ready = True
            case EnsureImage(container):
                self._images[container] = event.image_ref
            case StartContainer(container):
                self._images.pop(container, None)
                self.view.waiting.pop(container, None)
            case StopSandbox(id_):
                self._released.add(id_)
                if (box := runtime.sandboxes.get(id_)) is not None:
                    runtime.see(replace(box, ready=False))
            case RemoveContainer(id_) | RemoveSandbox(id_):
                runtime.forget(id_)
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
        backoff, key = self._backoff(order), str(order.key[:2])
        backoff.retried(key, now, now)
        self._retry_at[order.key] = now + backoff.delay_s(key)
        match order:
            case EnsureImage(container) | StartContainer(container):
                self._images.pop(container, None)
                self.view.waiting[container] = Waiting(event.reason, event.message, now)
                if any(isinstance(fact, Container) and fact.state == EXITED for fact in event.facts):
                    # It has become a run that ended, which waits as a crashed one.
                    self._retry_at.pop(order.key, None)
            case RunSandbox():
                self._emit("Warning", "FailedCreatePodSandBox", text.sandbox_failed(event.message))
            case PrepareVolumes():
                self._emit("Warning", "FailedMount", event.message)

    def _close(self, order: Order) -> None:
        self.in_flight.pop(order.key, None)
        if isinstance(order, StartContainer):
            self.view.starting.discard(order.container)

    def _probed(self, container_id: str, kind: ProbeKind, healthy: bool, now: float) -> None:
        self.view.probes[container_id, kind] = healthy
        run = self.view.runtime.containers.get(container_id)
        if healthy or kind == ProbeKind.READINESS or run is None or not run.alive:
            return
        container = self._spec_of(run.name)
        if container is not None:
            probe = container.startup_probe if kind == ProbeKind.STARTUP else container.liveness_probe
            grace_s = (
                probe.termination_grace_period_seconds
                if probe.HasField("termination_grace_period_seconds")
                else self.view.pod.spec.termination_grace_period_seconds
            )
            self._kill(run, text.probe_failed(run.name, kind), now + grace_s)

    # Where it stands

    def _stage_now(self, now: float) -> Stage:
        view, runtime = self.view, self.view.runtime
        if self.stage == Stage.GONE:
            return Stage.GONE
        self._check_deadline(now)
        if not view.ending and view.verdict is None and not self._admitted:
            return Stage.NEW
        if view.verdict is not None and not self._admitted and not view.ending:
            return Stage.REJECTED
        if view.ending or view.has_ended():
            view.ending = True
            return self._ending_stage()
        if not self._volumes_ready or runtime.ready_sandbox() is None:
            return Stage.STARTING
        return Stage.RUNNING if view.initialization(runtime.ready_sandbox()).complete(view.pod) else Stage.INITIALIZING

    def _ending_stage(self) -> Stage:
        runtime = self.view.runtime
        if runtime.alive() or any(key[0] in ("start", "sandbox", "volumes") for key in self.in_flight):
            return Stage.STOPPING
        if not self._volumes_released or any(id_ not in self._released for id_ in runtime.sandboxes):
            return Stage.RELEASING
        if not (self.view.deleted or self._api_gone):
            return Stage.FINISHED
        return Stage.GONE if self._api_gone and self._nothing_left() else Stage.RELEASING

    def _nothing_left(self) -> bool:
        runtime = self.view.runtime
        return self._directories_removed and not runtime.sandboxes and not self._removable()

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
            self._wake(deadline)
            return
        self.view.verdict = Verdict("DeadlineExceeded", DEADLINE_MESSAGE)
        self._emit("Normal", "DeadlineExceeded", DEADLINE_MESSAGE)
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
            Stage.STOPPING: self._stop_containers,
            Stage.RELEASING: self._release,
            Stage.FINISHED: self._nothing,
            Stage.GONE: self._nothing,
        }

    def _nothing(self, _: float) -> list[Order]:
        return []

    def _start_pod(self, now: float) -> list[Order]:
        """Volumes, then the sandbox; the images of the first containers come meanwhile."""
        runtime = self.view.runtime
        orders: list[Order] = [
            EnsureImage(container.name)
            for container in self._first_containers()
            if runtime.latest(container.name) is None and container.name not in self._images
        ]
        if not self._volumes_ready:
            return [PrepareVolumes(), *orders]
        box = runtime.sandbox()
        if box is None:
            return [*orders, RunSandbox(0)]
        if box.ready:
            return orders
        if box.id not in self._released:
            self._announce(("changed", box.id), "Normal", "SandboxChanged", text.SANDBOX_CHANGED)
            return [*orders, StopSandbox(box.id)]
        return [*orders, *self._stop_all(now), RunSandbox(box.attempt + 1)]

    def _first_containers(self) -> list[corev1.Container]:
        inits = self.view.pod.spec.init_containers
        return [inits[0]] if inits else list(self.view.pod.spec.containers)

    def _run_containers(self, now: float) -> list[Order]:
        pod, runtime = self.view.pod, self.view.runtime
        box = runtime.ready_sandbox()
        if box is None:
            return []
        progress = self.view.initialization(box)
        wanted = [
            (container, True)
            for index, container in enumerate(pod.spec.init_containers)
            if index == progress.position or (index < progress.position and is_sidecar(container))
        ]
        if progress.complete(pod):
            wanted += [(container, False) for container in pod.spec.containers]
        orders: list[Order] = []
        for container, init in wanted:
            orders += self._advance(container, init, box, now)
        return orders + self._discard_old(box)

    def _advance(self, container: corev1.Container, init: bool, box: Sandbox, now: float) -> list[Order]:
        """Bring one container one step nearer to running."""
        run = self.view.runtime.latest(container.name)
        if run is None:
            return self._launch(container, 0, box)
        if run.state == RUNNING or run.state == UNKNOWN:
            return self._correct(container, run, box, now)
        if ("start", container.name) in self.in_flight:
            return []
        if run.state == CREATED:
            return [RemoveContainer(run.id)]
        elsewhere = run.sandbox_id != box.id
        policy = policy_of(self.view.pod, container, init=init)
        if not should_restart(policy, container, run) and not (init and elsewhere):
            return []
        if not elsewhere and not self._rested(container.name, run, now):
            return []
        launch = self._launch(container, run.attempt + 1, box)
        if any(isinstance(order, StartContainer) for order in self._allowed(launch, now)):
            self._crashes.retried(container.name, run.ended_at, now)
        return launch

    def _rested(self, name: str, run: Container, now: float) -> bool:
        """Whether a crashed container has waited long enough."""
        due = self._crashes.due(name, run.ended_at)
        if now >= due:
            return True
        self._wake(due)
        pod = self.view.pod
        delay_s = self._crashes.delay_s(name)
        self.view.waiting[name] = Waiting("CrashLoopBackOff", text.crash_waiting(delay_s, name, pod), now)
        self._announce(("crash", run.id), "Warning", "BackOff", text.crash_event(name, pod), name)
        return False

    def _launch(self, container: corev1.Container, attempt: int, box: Sandbox) -> list[Order]:
        image_ref = self._images.get(container.name)
        if image_ref is None:
            return [EnsureImage(container.name)]
        return [StartContainer(container.name, attempt, box, image_ref)]

    def _correct(self, container: corev1.Container, run: Container, box: Sandbox, now: float) -> list[Order]:
        """Stop a live container that must not live on as it is."""
        grace_s = float(self.view.pod.spec.termination_grace_period_seconds)
        if run.sandbox_id != box.id or run.state == UNKNOWN:
            self._kill(run, text.stopping(run.name), now + grace_s)
        elif run.hash and run.hash != container_hash(container):
            self._kill(run, text.definition_changed(run.name), now + grace_s)
        kill = self._kills.get(run.id)
        return [self._stop(run, kill)] if kill else []

    def _kill(self, run: Container, message: str, deadline: float) -> None:
        self._kills.setdefault(run.id, _Kill(message, deadline))

    def _stop(self, run: Container, kill: _Kill) -> StopContainer:
        self._announce(("kill", run.id), "Normal", "Killing", kill.message, run.name)
        return StopContainer(run.id, run.name, kill.deadline, kill.message)

    def _stop_containers(self, now: float) -> list[Order]:
        """The main containers first, all at once; then the sidecars, last started first (KEP-753)."""
        if self.stop_deadline is None:
            self._stop_by(now + self.view.pod.spec.termination_grace_period_seconds)
        return self._stop_all(now)

    def _stop_all(self, now: float) -> list[Order]:
        sidecars = [container.name for container in self.view.pod.spec.init_containers if is_sidecar(container)]
        alive = self.view.runtime.alive()
        first = [run for run in alive if run.name not in sidecars]
        if not first and alive:
            first = [max(alive, key=lambda run: sidecars.index(run.name))]
        deadline = self.stop_deadline if self.stop_deadline is not None else now
        kills = {run.id: _Kill(text.stopping(run.name), deadline) for run in first}
        for id_, kill in kills.items():
            known = self._kills.get(id_)
            self._kills[id_] = kill if known is None or deadline < known.deadline else known
        return [self._stop(run, self._kills[run.id]) for run in first]

    def _release(self, _: float) -> list[Order]:
        """Give back sandboxes and volumes; of a deleted Pod, everything, while the API forgets it."""
        runtime = self.view.runtime
        held = [StopSandbox(id_) for id_ in runtime.sandboxes if id_ not in self._released]
        if held:
            return list(held)
        if not self._volumes_released:
            return [ReleaseVolumes(everything=False)]
        if not (self.view.deleted or self._api_gone):
            return []
        orders: list[Order] = [] if self._api_gone else [DeletePod()]
        removable = self._removable()
        if removable:
            return [*orders, *removable]
        if runtime.sandboxes:
            return [*orders, *(RemoveSandbox(id_) for id_ in runtime.sandboxes)]
        return orders if self._directories_removed else [*orders, ReleaseVolumes(everything=True)]

    def _removable(self) -> list[Order]:
        return [RemoveContainer(run.id) for run in self.view.runtime.containers.values() if not run.lost]

    def _discard_old(self, box: Sandbox) -> list[Order]:
        """Keep the newest run of each container and the one before it, for lastState and its log."""
        runtime = self.view.runtime
        orders: list[Order] = []
        kept: set[str] = set()
        for name in {run.name for run in runtime.containers.values()}:
            runs = sorted(runtime.runs(name), key=lambda run: (run.attempt, run.created_at))
            orders += [RemoveContainer(run.id) for run in runs[:-2] if run.state == EXITED and not run.lost]
            kept |= {run.sandbox_id for run in runs}
        for other in runtime.sandboxes.values():
            if other.id != box.id and other.id not in kept:
                orders.append(RemoveSandbox(other.id) if other.id in self._released else StopSandbox(other.id))
        return orders

    # Giving orders

    def _admit_orders(self, orders: list[Order], now: float) -> list[Order]:
        """Drop what is under way or held back, note the rest as under way."""
        allowed = self._allowed(orders, now)
        for order in allowed:
            self.in_flight[order.key] = order
            if isinstance(order, StartContainer):
                self.view.starting.add(order.container)
        for order in orders:
            if isinstance(order, EnsureImage) and order.key in self._retry_at:
                self._show_pull_backoff(order, now)
        return allowed

    def _allowed(self, orders: list[Order], now: float) -> list[Order]:
        allowed = []
        for order in orders:
            retry_at = self._retry_at.get(order.key, 0.0)
            if retry_at > now:
                self._wake(retry_at)
            elif order.key not in self.in_flight:
                allowed.append(order)
        return allowed

    def _show_pull_backoff(self, order: EnsureImage, now: float) -> None:
        waiting = self.view.waiting.get(order.container)
        container = self._spec_of(order.container)
        if waiting is None or container is None or waiting.reason != "ErrImagePull" or order.key in self.in_flight:
            return
        if now < waiting.since + PULL_ERROR_SHOWN_S:
            self._wake(waiting.since + PULL_ERROR_SHOWN_S)
            return
        message = text.pull_waiting(container.image, waiting)
        self.view.waiting[order.container] = Waiting("ImagePullBackOff", message, now)
        self._emit("Normal", "BackOff", text.pull_backoff(container.image), order.container)
        self._emit("Warning", "Failed", "Error: ImagePullBackOff", order.container)

    def _backoff(self, order: Order) -> Backoff:
        return self._retries.get(order.key[0], self._other_retries)

    def _wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    def _announce(self, once: tuple[str, ...], type_: Kind, reason: str, message: str, container: str = "") -> None:
        if once not in self._announced:
            self._announced.add(once)
            self._emit(type_, reason, message, container)

    def _emit(self, type_: Kind, reason: str, message: str, container: str = "") -> None:
        self._emitted.append(Emit(type_, reason, message, container))

    def _spec_of(self, name: str) -> corev1.Container | None:
        spec = self.view.pod.spec
        return next((one for one in [*spec.containers, *spec.init_containers] if one.name == name), None)
