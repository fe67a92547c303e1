"""PodStatus from what is known: a pure function, computed when a report is due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.conditions import conditions
from navarch.services.kubelet.core.container_status import container_status
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.phase import TERMINAL, phase
from navarch.services.kubelet.core.qos import qos_class
from navarch.services.kubelet.core.view import Verdict, View

# Of the last words of all its containers.
POD_MESSAGE_BYTES = 12 * 1024


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a Pod's status says of its node. devices: how those of a container are, by the Pod's uid and its name."""

    host_ips: tuple[str, ...]
    runtime_name: str = "containerd"
    devices: Callable[[str, str], Sequence[corev1.ResourceStatus]] = lambda _, __: ()


def pod_status(view: View, node: NodeFacts, now: float) -> corev1.PodStatus:
    """The status to report. now: Unix seconds, for times that are set for the first time."""
    pod, old = view.pod, view.pod.status
    if view.verdict is not None and not view.runtime.sandboxes and old.phase not in TERMINAL:
        return _refused(view, view.verdict)
    status = corev1.PodStatus(
        qos_class=qos_class(pod),
        observed_generation=pod.metadata.generation,
        nominated_node_name=old.nominated_node_name or None,
    )
    _add_containers(view, node, status)
    _shorten_messages(status)
    status.phase = phase(view, status)
    if view.verdict is not None and status.phase == "Failed":
        status.reason, status.message = view.verdict.reason, view.verdict.message
    elif old.phase in TERMINAL:
        for field in ("reason", "message"):
            if getattr(old, field):
                setattr(status, field, getattr(old, field))
    status.conditions.extend(conditions(view, status, now))
    _add_addresses(view, node, status)
    if old.HasField("start_time"):
        status.start_time.CopyFrom(old.start_time)
    else:
        status.start_time.seconds, status.start_time.nanos = int(now), 0
    status.resource_claim_statuses.extend(old.resource_claim_statuses)
    return status


def _refused(view: View, verdict: Verdict) -> corev1.PodStatus:
    """Of a Pod that the node did not take: it never had containers."""
    return corev1.PodStatus(
        phase="Failed",
        reason=verdict.reason,
        message=verdict.message,
        conditions=view.pod.status.conditions,
        qos_class=qos_class(view.pod),
        observed_generation=view.pod.metadata.generation,
    )


def _add_containers(view: View, node: NodeFacts, status: corev1.PodStatus) -> None:
    pod, old = view.pod, view.pod.status
    if old.phase in TERMINAL:
        # What was reported at its end stands.
        status.init_container_statuses.extend(old.init_container_statuses)
        status.container_statuses.extend(old.container_statuses)
        status.ephemeral_container_statuses.extend(old.ephemeral_container_statuses)
        return
    default = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    for container in pod.spec.init_containers:
        status.init_container_statuses.append(
            container_status(view, container, default, init=True, runtime_name=node.runtime_name)
        )
    for container in pod.spec.containers:
        status.container_statuses.append(
            container_status(view, container, default, init=False, runtime_name=node.runtime_name)
        )
    for entry in [*status.init_container_statuses, *status.container_statuses]:
        entry.allocated_resources_status.extend(node.devices(pod.metadata.uid, entry.name))
    for container in ephemeral_containers(pod):
        entry = container_status(view, container, "ContainerCreating", init=False, runtime_name=node.runtime_name)
        # They count for nothing, so nobody asks whether they are ready.
        entry.ready = False
        entry.ClearField("started")
        status.ephemeral_container_statuses.append(entry)


def _shorten_messages(status: corev1.PodStatus) -> None:
    """No more last words than a Pod may leave, each container its share."""
    entries = [*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses]
    for entry in entries:
        for state in (entry.state, entry.last_state):
            words = state.terminated.message.encode()
            if len(words) > POD_MESSAGE_BYTES // len(entries):
                words = words[: POD_MESSAGE_BYTES // len(entries)]
                state.terminated.message = words.decode(errors="ignore")


def _add_addresses(view: View, node: NodeFacts, status: corev1.PodStatus) -> None:
    if node.host_ips:
        status.host_ip = node.host_ips[0]
        status.host_ips.extend(corev1.HostIP(ip=ip) for ip in node.host_ips)
    box = view.runtime.ready_sandbox()
    if view.pod.spec.host_network:
        ips: tuple[str, ...] = node.host_ips
    elif box is not None:
        ips = box.ips
    else:
        # A Pod that ended keeps the address it was known by.
        ips = tuple(entry.ip for entry in view.pod.status.pod_ips)
    if ips:
        status.pod_ip = ips[0]
        status.pod_ips.extend(corev1.PodIP(ip=ip) for ip in ips)
