"""Pods: one word for what goes on in all the containers."""

from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import condition_is, human_duration
from navarch.services.api.printers.table import NONE, Cell, Table, age_of, columns, or_none

_GATED = "SchedulingGated"


@dataclass(slots=True)
class _Summary:
    """What has been found out about a Pod while going through its containers."""

    reason: str
    total: int
    ready: int = 0
    restarts: int = 0
    last_restart_s: int = 0

    def count_restarts(self, status: corev1.ContainerStatus) -> None:
        self.restarts += status.restart_count
        if status.last_state.HasField("terminated"):
            self.last_restart_s = max(self.last_restart_s, status.last_state.terminated.finished_at.seconds)

    def restarts_cell(self, now: float) -> str:
        if not self.restarts or not self.last_restart_s:
            return str(self.restarts)
        return f"{self.restarts} ({human_duration(now - self.last_restart_s)} ago)"


def summarize(pod: corev1.Pod) -> _Summary:
    """Find the word for a Pod's state, and count its containers and restarts."""
    sidecars = {container.name for container in pod.spec.init_containers if container.restart_policy == "Always"}
    summary = _Summary(pod.status.reason or pod.status.phase, len(pod.spec.containers) + len(sidecars))
    if any(c.type == "PodScheduled" and c.reason == _GATED for c in pod.status.conditions):
        summary.reason = _GATED
    initializing = _look_at_init(pod, sidecars, summary)
    if not initializing or condition_is(pod.status.conditions, "Initialized"):
        _look_at_containers(pod, sidecars, summary)
    if pod.metadata.HasField("deletion_timestamp"):
        if pod.status.reason == "NodeLost":
            summary.reason = "Unknown"
        elif pod.status.phase not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    return summary


def _look_at_init(pod: corev1.Pod, sidecars: set[str], summary: _Summary) -> bool:
    """Look for the init container that is at work or has failed; say whether there is one."""
    for index, status in enumerate(pod.status.init_container_statuses):
        summary.count_restarts(status)
        if status.state.HasField("terminated") and status.state.terminated.exit_code == 0:
            continue
        if status.name in sidecars and status.started:
            summary.ready += status.ready
            continue
        if status.state.HasField("terminated"):
            summary.reason = f"Init:{_termination(status.state.terminated)}"
        elif status.state.waiting.reason not in ("", "PodInitializing"):
            summary.reason = f"Init:{status.state.waiting.reason}"
        else:
            summary.reason = f"Init:{index}/{len(pod.spec.init_containers)}"
        return True
    return False


def _look_at_containers(pod: corev1.Pod, sidecars: set[str], summary: _Summary) -> None:
    # Once the Pod has been initialized, only sidecars can still restart among the init containers.
    summary.restarts = summary.last_restart_s = 0
    for status in pod.status.init_container_statuses:
        if status.name in sidecars:
            summary.count_restarts(status)
    running = False
    # Backwards, so that the word is about the first container that has one.
    for status in reversed(pod.status.container_statuses):
        summary.count_restarts(status)
        if status.state.waiting.reason:
            summary.reason = status.state.waiting.reason
        elif status.state.HasField("terminated"):
            summary.reason = _termination(status.state.terminated)
        elif status.ready and status.state.HasField("running"):
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if condition_is(pod.status.conditions, "Ready") else "NotReady"


def _termination(state: corev1.ContainerStateTerminated) -> str:
    if state.reason:
        return state.reason
    return f"Signal:{state.signal}" if state.signal else f"ExitCode:{state.exit_code}"


def _fill(pod: corev1.Pod, now: float) -> tuple[Cell, ...]:
    summary = summarize(pod)
    address = pod.status.pod_ips[0].ip if pod.status.pod_ips else pod.status.pod_ip
    gates = NONE
    if pod.spec.readiness_gates:
        passed = sum(condition_is(pod.status.conditions, gate.condition_type) for gate in pod.spec.readiness_gates)
        gates = f"{passed}/{len(pod.spec.readiness_gates)}"
    return (
        pod.metadata.name,
        f"{summary.ready}/{summary.total}",
        summary.reason,
        summary.restarts_cell(now),
        age_of(pod, now),
        or_none(address),
        or_none(pod.spec.node_name),
        or_none(pod.status.nominated_node_name),
        gates,
    )


_ENDS = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}


def _conditions(pod: corev1.Pod) -> list[dict[str, str]]:
    phase = pod.status.phase
    if phase not in _ENDS:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _ENDS[phase]}]


_WIDE = ("IP", "Node", "Nominated Node", "Readiness Gates")
POD = Table(columns("Ready", "Status", "Restarts", "Age", *_WIDE, wide=_WIDE), _fill, _conditions)
