"""What one Pod's machine knows: facts are merged into it, whichever order they come in. It decides nothing."""

from dataclasses import replace

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core import events_text as text
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
from navarch.services.kubelet.core.resizes import remember_sizes
from navarch.services.kubelet.core.restart import NEVER
from navarch.services.kubelet.core.view import Verdict, View, Waiting

FORCED_GRACE_S = 1.0


class Knowledge:
    """Of one Pod: what API and runtime show (`view`), what was ordered and came of it (`memory`), and how far it is.

    stop_deadline: when its containers must have ended (Unix seconds); None while they need not.
    """

    def __init__(self, pod: corev1.Pod, memory: Memory) -> None:
        self.view = View(pod)
        self.memory = memory
        self.stop_deadline: float | None = None
        self.synced = False
        self.admitted = False
        self.api_gone = False
        self.volumes_ready = False
        self.volumes_released = False
        self.directories_removed = False
        self.resizing = False

    def take(self, event: Event, now: float, *, awaits_admission: bool) -> bool:
        """Take a fact in. Returns whether anything may have changed."""
        view, runtime = self.view, self.view.runtime
        match event:
            case PodChanged(pod) if self.synced and _version(pod) < _version(view.pod):
                # An answer to a report of ours may come after what the watch has told since.
                return False
            case PodChanged(pod):
                self._compare_images(pod)
                view.take(with_granted(pod, view.pod) if self.synced else with_reported(pod), pod)
                if not self.synced:
                    self._recover(now)
                if view.deleted:
                    grace_s = max(float(pod.metadata.deletion_grace_period_seconds), FORCED_GRACE_S)
                    self.stop_by(now + grace_s)
            case PodRemoved():
                self.api_gone = True
                self.stop_by(now + FORCED_GRACE_S)
            case Admitted() | Rejected() if not awaits_admission:
                # Said once, of a new Pod.
                return False
            case Admitted():
                self.admitted = True
            case Rejected(reason, message):
                view.verdict = Verdict(reason, message)
                self.memory.notes.emit("Warning", reason, message.removeprefix(text.REJECTED))
            case ResizeJudged(pending):
                return self._judged(pending)
            case Evict(reason, message, grace_s, condition):
                view.verdict = Verdict(reason, message, condition)
                self.stop_by(now + grace_s)
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
                self.memory.retries.allow_kinds("volumes", "start")
            case Tick():
                pass
        return True

    def _compare_images(self, pod: corev1.Pod) -> None:
        for container in [*pod.spec.init_containers, *pod.spec.containers]:
            before = self.view.container(container.name)
            if before is not None and before.image != container.image:
                self.memory.image_changed(container.name)
                self.view.waiting.pop(container.name, None)

    def _see(self, facts: tuple[Sandbox | Container, ...], sequence: int = 0) -> bool:
        changed = [self.view.runtime.see(fact, sequence) for fact in facts]
        return any(changed)

    def _recover(self, now: float) -> None:
        self.synced = True
        self.view.probes.update(remembered_probes(self.view.pod))
        for container in lost_containers(self.view.pod, self.view.runtime, now):
            self.view.runtime.see(container)
        if self.view.runtime.sandboxes:
            self.admitted = True
        if self.view.pod.status.phase in ("Succeeded", "Failed"):
            self.view.ending = True

    def _judged(self, pending: Pending | None) -> bool:
        """Other resources are granted, or not (yet)."""
        view = self.view
        if view.asked is None or pending == view.pending is not None:
            return False
        view.pending = pending
        if pending is not None:
            self.memory.notes.emit("Warning", f"Resize{pending.reason}", text.resize_pending(view.asked, pending))
            return True
        remember_sizes(view)
        view.take(view.asked, view.asked)
        self.resizing = True
        self.memory.notes.emit("Normal", "ResizeStarted", text.resize("started", view.pod))
        return True

    def stop_by(self, deadline: float) -> None:
        """The deadline of a Pod's end only ever comes nearer."""
        self.view.ending = True
        self.stop_deadline = deadline if self.stop_deadline is None else min(self.stop_deadline, deadline)

    def _done(self, event: Done) -> None:
        order, runtime = event.order, self.view.runtime
        self._close(order)
        self.memory.retries.succeeded(order)
        self._see(event.facts, event.sequence)
        match order:
            case PrepareVolumes():
                self.volumes_ready = True
            case EnsureImage(container) if container not in self.memory.outdated:
                self.memory.images[container] = event.image_ref
            case EnsureImage(container):
                self.memory.outdated.discard(container)
            case StartContainer(container):
                self.memory.images.pop(container, None)
                self.view.waiting.pop(container, None)
            case StopSandbox(id_):
                self.memory.released.add(id_)
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
                self.volumes_released = True
                self.volumes_ready = False
                self.directories_removed = everything
            case DeletePod():
                self.api_gone = True

    def _failed(self, event: Failed, now: float) -> None:
        order = event.order
        self._close(order)
        self._see(event.facts, event.sequence)
        if isinstance(order, EnsureImage) and order.container in self.memory.outdated:
            self.memory.outdated.discard(order.container)
            return
        self.memory.retries.failed(order, now)
        match order:
            case EnsureImage(container) | StartContainer(container):
                self.memory.images.pop(container, None)
                self.view.waiting[container] = Waiting(event.reason, event.message, now, event.image)
                if any(isinstance(fact, Container) and fact.state == EXITED for fact in event.facts):
                    # It has become a run that ended, which waits as a crashed one.
                    self.memory.retries.allow(order)
            case ResizeContainer(_, container):
                self.view.resize_errors[container] = event.message
                self.memory.notes.emit("Warning", "ResizeError", text.resize("error", self.view.pod, event.message))
            case RunSandbox():
                self.memory.notes.emit("Warning", "FailedCreatePodSandBox", text.sandbox_failed(event.message))
            case PrepareVolumes():
                self.memory.notes.emit("Warning", "FailedMount", event.message)

    def _close(self, order: Order) -> None:
        self.memory.in_flight.pop(order.key, None)
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
            self.memory.kill(run, text.probe_failed(run.name, kind, restarts=restarts), now + grace_s)


def _version(pod: corev1.Pod) -> int:
    """0 for one that is in no API server."""
    return int(pod.metadata.resource_version or 0)
