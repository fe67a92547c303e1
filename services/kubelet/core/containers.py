"""Plans for a Pod's containers: which is to start, to be stopped, or to be forgotten now."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core import events_text as text
from navarch.services.kubelet.core.container_hash import container_hash
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.memory import Memory
from navarch.services.kubelet.core.observed import CREATED, EXITED, RUNNING, UNKNOWN, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    EnsureImage,
    Order,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from navarch.services.kubelet.core.resizes import restarts_for_resize
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.core.view import View, Waiting

# For how long ErrImagePull is shown before it becomes ImagePullBackOff.
PULL_ERROR_SHOWN_S = 2.0
# An end that lies further in the future than this shows that the clock was set back: nothing waits for it.
CLOCK_SLACK_S = 1.0
# The newest run and the one before it, for lastState and its log.
RUNS_KEPT = 2


class Containers:
    """Level-triggered plans over a view; what must outlive a step is in the memory."""

    def __init__(self, view: View, memory: Memory) -> None:
        self._view = view
        self._memory = memory

    def first_images(self) -> list[Order]:
        """The images that will be wanted first, to be fetched while the sandbox is made."""
        spec, runtime = self._view.pod.spec, self._view.runtime
        first = list(spec.init_containers[:1]) or list(spec.containers)
        return [
            EnsureImage(container.name)
            for container in first
            if runtime.latest(container.name) is None and container.name not in self._memory.images
        ]

    def run(self, box: Sandbox, now: float) -> list[Order]:
        """Bring every container that is due one step nearer to what it should be."""
        pod = self._view.pod
        progress = self._view.initialization(box)
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
        for container in ephemeral_containers(pod):
            orders += self._run_once(container, box, now)
        return orders + self._discard_old(box)

    def _advance(self, container: corev1.Container, init: bool, box: Sandbox, now: float) -> list[Order]:
        run = self._view.runtime.latest(container.name)
        if run is None:
            return self._launch(container, 0, box, now)
        if run.state in (RUNNING, UNKNOWN):
            return self._correct(container, run, box, now)
        if ("start", container.name) in self._memory.in_flight:
            return []
        if run.state == CREATED:
            return [self._resume(container, run, box)]
        elsewhere = run.sandbox_id != box.id
        ended_by_us = self._view.ended_by_us(container, run)
        if not ended_by_us and not self._view.follows(container, run) and not (init and elsewhere):
            return []
        if not elsewhere and not ended_by_us and not self._has_rested(container.name, run, now):
            return []
        launch = self._launch(container, run.attempt + 1, box, now)
        if not ended_by_us and any(
            isinstance(order, StartContainer) and self._memory.is_free(order, now) for order in launch
        ):
            self._memory.crashes.retried(container.name, run.ended_at, now)
        return launch

    def _run_once(self, container: corev1.Container, box: Sandbox, now: float) -> list[Order]:
        """Start an ephemeral container that has never run."""
        run = self._view.runtime.latest(container.name)
        if run is None:
            return self._launch(container, 0, box, now)
        if run.state == CREATED and ("start", container.name) not in self._memory.in_flight:
            return [self._resume(container, run, box)]
        return []

    def _resume(self, container: corev1.Container, run: Container, box: Sandbox) -> Order:
        """Go on with one that a kubelet made who died before it was started.

        Its start may be under way still, so that to remove it and make another could run it twice.
        """
        start = StartContainer(container.name, run.attempt, box, run.image_id, created=run.id)
        is_usable = run.sandbox_id == box.id and run.hash == container_hash(container)
        return start if is_usable and not self._memory.retries.has_failed(start) else RemoveContainer(run.id)

    def _has_rested(self, name: str, run: Container, now: float) -> bool:
        """Whether a crashed container has waited long enough."""
        due = self._memory.crashes.due(name, run.ended_at)
        if now >= due or now < run.ended_at - CLOCK_SLACK_S:
            return True
        pod, notes = self._view.pod, self._memory.notes
        notes.wake(due)
        message = text.crash_waiting(self._memory.crashes.delay_s(name), name, pod)
        self._view.waiting[name] = Waiting("CrashLoopBackOff", message, now)
        notes.announce(("crash", run.id), "Warning", "BackOff", text.crash_event(name, pod), name)
        return False

    def _launch(self, container: corev1.Container, attempt: int, box: Sandbox, now: float) -> list[Order]:
        image_ref = self._memory.images.get(container.name)
        if image_ref is not None:
            return [StartContainer(container.name, attempt, box, image_ref)]
        pull = EnsureImage(container.name)
        if self._memory.retries.due(pull, now) > now:
            self._show_pull_backoff(container, now)
        return [pull]

    def _show_pull_backoff(self, container: corev1.Container, now: float) -> None:
        waiting, notes = self._view.waiting.get(container.name), self._memory.notes
        if waiting is None or waiting.reason != "ErrImagePull":
            return
        if now < waiting.since + PULL_ERROR_SHOWN_S:
            notes.wake(waiting.since + PULL_ERROR_SHOWN_S)
            return
        image = waiting.image or container.image
        message = text.pull_waiting(image, waiting)
        self._view.waiting[container.name] = Waiting("ImagePullBackOff", message, now)
        notes.emit("Normal", "BackOff", text.pull_backoff(image), container.name)
        notes.emit("Warning", "Failed", "Error: ImagePullBackOff", container.name)

    def _correct(self, container: corev1.Container, run: Container, box: Sandbox, now: float) -> list[Order]:
        """Stop a live container that must not live on as it is."""
        deadline = now + self._view.pod.spec.termination_grace_period_seconds
        if run.sandbox_id != box.id or run.state == UNKNOWN:
            self._kill_once(run, text.stopping(run.name), deadline)
        elif run.hash and run.hash != container_hash(container):
            self._view.resized.add(run.id)
            self._kill_once(run, text.definition_changed(run.name), deadline)
        elif restarts_for_resize(self._view, container, run):
            self._view.resized.add(run.id)
            self._kill_once(run, text.resize_restart(run.name), deadline)
        return [self._stop(run)] if run.id in self._memory.kills else []

    def _kill_once(self, run: Container, message: str, deadline: float) -> None:
        if run.id not in self._memory.kills:
            self._memory.kill(run, message, deadline)

    def _stop(self, run: Container) -> StopContainer:
        kill = self._memory.kills[run.id]
        self._memory.notes.announce(("kill", run.id), "Normal", "Killing", kill.message, run.name)
        return StopContainer(run.id, run.name, kill.deadline, kill.message)

    def stop_all(self, deadline: float) -> list[Order]:
        """The main containers first, all at once; then the sidecars, last started first (KEP-753)."""
        sidecars = [container.name for container in self._view.pod.spec.init_containers if is_sidecar(container)]
        alive = self._view.runtime.alive()
        first = [run for run in alive if run.name not in sidecars]
        if not first and alive:
            first = [max(alive, key=lambda run: sidecars.index(run.name))]
        for run in first:
            self._memory.kill(run, text.stopping(run.name), deadline)
        return [self._stop(run) for run in first]

    def removable(self) -> list[Order]:
        """Everything that is in the runtime."""
        return [RemoveContainer(run.id) for run in self._view.runtime.containers.values() if not run.lost]

    def _discard_old(self, box: Sandbox) -> list[Order]:
        """Remove runs that nobody asks for any more, and the sandboxes that only held those."""
        runtime, released = self._view.runtime, self._memory.released
        orders: list[Order] = []
        kept: set[str] = set()
        for name in {run.name for run in runtime.containers.values()}:
            runs = sorted(runtime.runs(name), key=lambda run: (run.attempt, run.created_at))
            orders += [RemoveContainer(run.id) for run in runs[:-RUNS_KEPT] if run.state == EXITED and not run.lost]
            kept |= {run.sandbox_id for run in runs}
        for other in runtime.sandboxes.values():
            if other.id != box.id and other.id not in kept:
                orders.append(RemoveSandbox(other.id) if other.id in released else StopSandbox(other.id))
        return orders
