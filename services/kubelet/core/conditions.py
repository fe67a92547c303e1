"""The Pod conditions that the kubelet owns."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.resizes import outstanding
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.core.view import View

RESTARTING = "AllContainersRestarting"
RESIZE_PENDING, RESIZE_IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
OWNED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    RESIZE_PENDING,
    RESIZE_IN_PROGRESS,
    RESTARTING,
)


def conditions(view: View, status: corev1.PodStatus, now: float) -> list[corev1.PodCondition]:
    """Others' conditions as they are, then ours; a condition that did not change keeps its transition time."""
    old = {condition.type: condition for condition in view.pod.status.conditions}
    kept = [condition for type_, condition in old.items() if type_ not in OWNED]
    containers_ready = _containers_ready(view, status)
    fresh = [
        _condition("PodReadyToStartContainers", _has_network(view)),
        _initialized(view, status),
        _ready(view, containers_ready),
        containers_ready,
        _condition("PodScheduled", True),
        *_resize(view, status),
        *_restart_of_all(view),
    ]
    if view.verdict is not None and (told := view.verdict.condition) is not None:
        kept = [condition for condition in kept if condition.type != told.type]
        fresh.append(_condition(told.type, told.status == "True", told.reason, told.message))
    for condition in fresh:
        known = old.get(condition.type)
        condition.observed_generation = view.pod.metadata.generation
        if known is not None and (known.status, _resize_reason(known)) == (condition.status, _resize_reason(condition)):
            condition.last_transition_time.CopyFrom(known.last_transition_time)
        else:
            condition.last_transition_time.seconds = int(now)
            condition.last_transition_time.nanos = 0
        condition.last_probe_time.SetInParent()
    return [*kept, *fresh]


def _condition(type_: str, holds: bool, reason: str = "", message: str = "") -> corev1.PodCondition:
    return corev1.PodCondition(
        type=type_, status="True" if holds else "False", reason=reason or None, message=message or None
    )


def _resize(view: View, status: corev1.PodStatus) -> list[corev1.PodCondition]:
    """Shown only while they hold (KEP-1287)."""
    if status.phase in ("Succeeded", "Failed"):
        return []
    found = []
    if view.pending is not None:
        found.append(_condition(RESIZE_PENDING, True, view.pending.reason, view.pending.message))
    if outstanding(view):
        errors = "; ".join(view.resize_errors.values())
        found.append(_condition(RESIZE_IN_PROGRESS, True, "Error" if errors else "", errors))
    return found


def _restart_of_all(view: View) -> list[corev1.PodCondition]:
    """Shown while the containers of the earlier round end (KEP-5532)."""
    if view.ending or not any(map(view.is_past, view.runtime.alive())):
        return []
    return [_condition(RESTARTING, True, "RestartAllContainersStarted")]


def _resize_reason(condition: corev1.PodCondition) -> str:
    """What a resize waits for is a state of its own; other conditions keep their time while their reason changes."""
    return condition.reason if condition.type in (RESIZE_PENDING, RESIZE_IN_PROGRESS) else ""


def _has_network(view: View) -> bool:
    box = view.runtime.ready_sandbox()
    return box is not None and (bool(box.ips) or view.pod.spec.host_network)


def _listed(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def _initialized(view: View, status: corev1.PodStatus) -> corev1.PodCondition:
    pod = view.pod
    if status.phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    if any(_has_run(entry) for entry in status.container_statuses):
        return _condition("Initialized", True)
    entries = {entry.name: entry for entry in status.init_container_statuses}
    incomplete = [
        container.name
        for container in pod.spec.init_containers
        if (entry := entries.get(container.name)) is None
        or not (entry.started if is_sidecar(container) else entry.ready)
    ]
    if incomplete:
        message = f"containers with incomplete status: {_listed(incomplete)}"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)


def _has_run(entry: corev1.ContainerStatus) -> bool:
    return (
        entry.started
        or entry.state.HasField("running")
        or entry.state.HasField("terminated")
        or entry.last_state.HasField("terminated")
    )


def _containers_ready(view: View, status: corev1.PodStatus) -> corev1.PodCondition:
    if status.phase in ("Succeeded", "Failed"):
        return _condition("ContainersReady", False, "PodCompleted" if status.phase == "Succeeded" else "PodFailed")
    sidecars = {container.name for container in view.pod.spec.init_containers if is_sidecar(container)}
    unready = [entry.name for entry in status.init_container_statuses if entry.name in sidecars and not entry.ready]
    unready += [entry.name for entry in status.container_statuses if not entry.ready]
    if unready:
        message = f"containers with unready status: {_listed(unready)}"
        return _condition("ContainersReady", False, "ContainersNotReady", message)
    return _condition("ContainersReady", True)


def _ready(view: View, containers_ready: corev1.PodCondition) -> corev1.PodCondition:
    if containers_ready.status != "True":
        return _condition("Ready", False, containers_ready.reason, containers_ready.message)
    present = {condition.type: condition.status for condition in view.pod.status.conditions}
    unmet = []
    for gate in view.pod.spec.readiness_gates:
        if gate.condition_type not in present:
            unmet.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif present[gate.condition_type] != "True":
            unmet.append(
                f'the status of pod readiness gate "{gate.condition_type}" is not "True", but '
                f"{present[gate.condition_type]}"
            )
    if unmet:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(unmet))
    return _condition("Ready", True)
