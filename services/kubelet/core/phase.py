"""The phase of a Pod, from the statuses of its containers."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.core.view import View

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"
TERMINAL = (SUCCEEDED, FAILED)


def phase(view: View, status: corev1.PodStatus) -> str:
    """The phase. A terminal phase is final and never reported while a container lives."""
    reported = view.pod.status.phase
    if reported in TERMINAL:
        return reported
    alive = bool(view.runtime.alive())
    if view.verdict is not None:
        return _while_alive(status) if alive else FAILED
    if view.ending and not alive and view.runtime.containers:
        return _final(view, status)
    if view.ending and not alive:
        return FAILED if view.deleted else PENDING
    return _living(view, status)


def _while_alive(status: corev1.PodStatus) -> str:
    return RUNNING if status.container_statuses and _ever_ran(status) else PENDING


def _ever_ran(status: corev1.PodStatus) -> bool:
    return any(not entry.state.HasField("waiting") for entry in status.container_statuses)


def _final(view: View, status: corev1.PodStatus) -> str:
    """All that ran has ended: only clean exits of every container make a success."""
    sidecars = {container.name for container in view.pod.spec.init_containers if is_sidecar(container)}
    entries = [entry for entry in status.init_container_statuses if entry.name not in sidecars]
    entries += status.container_statuses
    clean = all(entry.state.HasField("terminated") and entry.state.terminated.exit_code == 0 for entry in entries)
    return SUCCEEDED if clean else FAILED


def _living(view: View, status: corev1.PodStatus) -> str:
    if not view.initialization(view.runtime.sandbox()).complete(view.pod) and not _ever_ran(status):
        return PENDING
    waiting = [entry for entry in status.container_statuses if entry.state.HasField("waiting")]
    if any(not entry.last_state.HasField("terminated") for entry in waiting):
        return PENDING
    return RUNNING if status.container_statuses else PENDING
