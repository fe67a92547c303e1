"""What the kubelet knows of one Pod, as one answer: why is it where it is."""

from collections.abc import Callable, Iterator
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import node_pb2
from navarch.services.kubelet.core.deeds import Deed
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.observed import Container
from navarch.services.kubelet.core.orders import ProbeKind
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.pod_worker import PodWorker

STATES: dict[int, str] = {
    criv1.CONTAINER_CREATED: "Created",
    criv1.CONTAINER_RUNNING: "Running",
    criv1.CONTAINER_EXITED: "Exited",
    criv1.CONTAINER_UNKNOWN: "Unknown",
}


def inspect(
    worker: PodWorker, reported: corev1.Pod, where: Callable[[corev1.Pod, str], Path | None], now: float
) -> node_pb2.InspectResponse:
    """All about one Pod. reported: with its status; where: a volume of a Pod is, once it is there."""
    machine, view = worker.machine, worker.view
    answer = node_pb2.InspectResponse(
        time=moment(now),
        pod=reported,
        stage=machine.stage.value,
        history=machine.history,
        wakes=moment(machine.wake_at),
        containers=[_container(worker, container, kind) for container, kind in _containers(view.pod)],
        orders=[_order(worker, deed) for deed in worker.deeds.all()],
    )
    if view.verdict is not None:
        answer.verdict_reason, answer.verdict_message = view.verdict.reason, view.verdict.message
    for box in sorted(view.runtime.sandboxes.values(), key=lambda box: (box.attempt, box.created_at)):
        answer.sandboxes.add(
            id=box.id, attempt=box.attempt, ready=box.ready, created=moment(box.created_at), ips=box.ips
        )
    for volume in view.pod.spec.volumes:
        sources = volume.volume_source.ListFields()
        kind = sources[0][0].json_name if sources else ""
        answer.volumes.add(name=volume.name, kind=kind, ready=where(view.pod, volume.name) is not None)
    return answer


def _containers(pod: corev1.Pod) -> Iterator[tuple[corev1.Container, str]]:
    for container in pod.spec.init_containers:
        yield container, "sidecar" if is_sidecar(container) else "init"
    for container in pod.spec.containers:
        yield container, "main"
    for container in ephemeral_containers(pod):
        yield container, "ephemeral"


def _container(worker: PodWorker, container: corev1.Container, kind: str) -> node_pb2.InspectedContainer:
    view, memory = worker.view, worker.machine.memory
    runs = sorted(view.runtime.runs(container.name), key=lambda run: (run.attempt, run.created_at))
    answer = node_pb2.InspectedContainer(name=container.name, kind=kind, runs=[_run(run) for run in runs])
    newest = runs[-1] if runs else None
    held = [memory.retries.held_until((deed, container.name)) for deed in ("image", "start")]
    if newest is not None and newest.alive:
        answer.started, answer.ready = view.started(container, newest), view.ready(container, newest)
        for probe in ProbeKind:
            if (newest.id, probe) in view.probes:
                answer.probes[probe.value] = view.probes[newest.id, probe]
        return answer
    if (waiting := view.waiting.get(container.name)) is not None:
        answer.waiting_reason, answer.waiting_message = waiting.reason, waiting.message
        if newest is not None:
            held.append(memory.crashes.due(container.name, newest.ended_at))
    if (until := max(held)) > 0:
        answer.held_until.CopyFrom(moment(until) or metav1.Time())
    return answer


def _run(run: Container) -> node_pb2.InspectedRun:
    return node_pb2.InspectedRun(
        id=run.id,
        attempt=run.attempt,
        state=STATES.get(run.state, "Unknown"),
        created=moment(run.created_at),
        started=moment(run.started_at),
        finished=moment(run.finished_at),
        exit_code=run.exit_code,
        reason=run.reason,
        message=run.message,
        image=run.image,
        image_id=run.image_id,
        log_path=run.log_path,
    )


def _order(worker: PodWorker, deed: Deed) -> node_pb2.InspectedOrder:
    until = worker.machine.memory.retries.held_until(deed.key) if deed.failed else None
    return node_pb2.InspectedOrder(
        order=deed.order,
        subject=deed.subject,
        given=moment(deed.given_at),
        answered=moment(deed.answered_at),
        reason=deed.reason,
        message=deed.message,
        retried=moment(until),
    )


def moment(unix_s: float | None) -> metav1.Time | None:
    """A time as precise as it is known; None for none."""
    if not unix_s:
        return None
    return metav1.Time(seconds=int(unix_s // 1), nanos=int(unix_s % 1 * 1e9))
