"""After a restart: what the API's last status tells that the runtime no longer does."""

from collections.abc import Iterator

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import EXITED, LOST_MESSAGE, LOST_REASON, Container, PodRuntime
from navarch.services.kubelet.core.orders import ProbeKind


def _statuses(pod: corev1.Pod) -> Iterator[corev1.ContainerStatus]:
    yield from pod.status.init_container_statuses
    yield from pod.status.container_statuses
    yield from pod.status.ephemeral_container_statuses


def _runtime_id(container_id: str) -> str:
    return container_id.partition("://")[2]


def lost_containers(pod: corev1.Pod, runtime: PodRuntime, now: float) -> Iterator[Container]:
    """Runs that were reported and are in the runtime no more, so that they count and are not repeated."""
    for status in _statuses(pod):
        if runtime.latest(status.name) is not None:
            continue
        state = status.state
        if state.HasField("running"):
            id_, ended = _runtime_id(status.container_id), None
        elif state.HasField("terminated"):
            id_, ended = _runtime_id(state.terminated.container_id or status.container_id), state.terminated
        elif status.last_state.HasField("terminated"):
            ended = status.last_state.terminated
            id_ = _runtime_id(ended.container_id)
        else:
            continue
        if id_:
            yield _lost_run(status, id_, ended, now)


def _lost_run(
    status: corev1.ContainerStatus, id_: str, ended: corev1.ContainerStateTerminated | None, now: float
) -> Container:
    started_at = float(ended.started_at.seconds if ended else status.state.running.started_at.seconds)
    return Container(
        id=id_,
        name=status.name,
        attempt=status.restart_count,
        sandbox_id="",
        state=EXITED,
        created_at=started_at,
        started_at=started_at,
        finished_at=float(ended.finished_at.seconds) if ended else now,
        exit_code=ended.exit_code if ended else 137,
        reason=ended.reason if ended else LOST_REASON,
        message=ended.message if ended else LOST_MESSAGE,
        image=status.image,
        image_id=status.image_id,
        lost=True,
    )


def remembered_probes(pod: corev1.Pod) -> Iterator[tuple[tuple[str, ProbeKind], bool]]:
    """What was ready stays ready until its probe says otherwise: a restart of ours must not take traffic away."""
    for status in _statuses(pod):
        if status.state.HasField("running"):
            id_ = _runtime_id(status.container_id)
            yield (id_, ProbeKind.READINESS), status.ready
            yield (id_, ProbeKind.STARTUP), status.started
