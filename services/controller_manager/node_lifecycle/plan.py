"""What follows from a Node's silence and from its conditions. Pure functions of the Node and the time.

A Node that has not been heard of for the grace period gets its conditions set to Unknown. Conditions become
taints: NoSchedule keeps new Pods away, NoExecute (not ready, unreachable) has those evicted that do not
tolerate it. Taints of other keys are nobody's business here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import time_from, unix
from navarch.services.controller_manager import pods

READY = "Ready"
NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

# (condition, status) -> taint.
_TAINTS = {
    (READY, "False"): NOT_READY,
    (READY, "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
# What a kubelet reports, and what a silent one therefore no longer does.
_REPORTED = (READY, "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class Grace:
    """Seconds of silence after which a Node counts as unreachable; more for one that never reported."""

    running_s: float = 40.0
    starting_s: float = 60.0

    def of(self, node: corev1.Node) -> float:
        """The grace of this Node."""
        return self.running_s if condition(node, READY) is not None else self.starting_s


def condition(node: corev1.Node, kind: str) -> corev1.NodeCondition | None:
    """The condition of this type."""
    return next((each for each in node.status.conditions if each.type == kind), None)


def silenced(node: corev1.Node, now: float) -> corev1.NodeStatus | None:
    """The status of a Node that fell silent; None where it says so already."""
    result = corev1.NodeStatus()
    result.CopyFrom(node.status)
    changed = False
    for kind in _REPORTED:
        current = next((each for each in result.conditions if each.type == kind), None)
        if current is None:
            current = result.conditions.add(
                type=kind,
                reason="NodeStatusNeverUpdated",
                message="Kubelet never posted node status.",
                last_heartbeat_time=node.metadata.creation_timestamp,
            )
        elif current.status != "Unknown":
            current.reason, current.message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        else:
            continue
        current.status = "Unknown"
        current.last_transition_time.CopyFrom(time_from(now))
        changed = True
    return result if changed else None


def taints(node: corev1.Node, now: float) -> list[corev1.Taint] | None:
    """The taints that the Node should have; None where it has them. Those that stay keep their times."""
    current = list(node.spec.taints)
    wanted = set(_wanted(node))
    if condition(node, READY) is None:
        # It has not said anything yet: whatever it was registered with holds.
        wanted |= {(each.key, each.effect) for each in current if each.key in (NOT_READY, UNREACHABLE)}
    result = [each for each in current if not _is_managed(each) or (each.key, each.effect) in wanted]
    present = {(each.key, each.effect) for each in result}
    missing = sorted(wanted - present)
    if not missing and len(result) == len(current):
        return None
    return result + [corev1.Taint(key=key, effect=effect, time_added=time_from(now)) for key, effect in missing]


def to_mark_not_ready(node: corev1.Node, assigned: Iterable[corev1.Pod]) -> list[corev1.Pod]:
    """Pods that still count as ready from before their Node ceased to be.

    Those that became ready later were reported by a kubelet that lives: its word counts.
    """
    ready = condition(node, READY)
    if ready is None or ready.status == "True":
        return []
    since = unix(ready.last_transition_time)
    return [pod for pod in assigned if (at := pods.ready_since(pod)) is not None and at <= since]


def marked_not_ready(pod: corev1.Pod, now: float) -> corev1.Pod:
    """A copy whose Ready condition is False."""
    copy = corev1.Pod()
    copy.CopyFrom(pod)
    for each in copy.status.conditions:
        if each.type == READY:
            each.status = "False"
            each.reason, each.message = "NodeNotReady", "Node is not ready"
            each.last_transition_time.CopyFrom(time_from(now))
    return copy


def _wanted(node: corev1.Node) -> Iterator[tuple[str, str]]:
    for each in node.status.conditions:
        if (key := _TAINTS.get((each.type, each.status))) is not None:
            yield key, NO_SCHEDULE
            if each.type == READY:
                yield key, NO_EXECUTE
    if node.spec.unschedulable:
        yield UNSCHEDULABLE, NO_SCHEDULE


def _is_managed(taint: corev1.Taint) -> bool:
    if taint.effect == NO_EXECUTE:
        return taint.key in (NOT_READY, UNREACHABLE)
    return taint.effect == NO_SCHEDULE and taint.key in {*_TAINTS.values(), UNSCHEDULABLE}
