"""From what is left of a node, look after look: which conditions it has, and which thresholds call for evictions.

A threshold that was crossed counts until so much more than it is free again as its minimum reclaim says. A condition
stays for the transition period after it was last seen, so that it does not flap. After a restart of the kubelet the
history is gone: the next look begins a new one.
"""

from collections.abc import Iterable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.eviction_signals import MEMORY_PRESSURE, MEMORY_SIGNALS, Observations, condition_of
from navarch.services.kubelet.core.eviction_thresholds import Threshold
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.core.qos import BEST_EFFORT, qos_class

SYSTEM_CRITICAL_PRIORITY = 2_000_000_000
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
SOURCE_ANNOTATION = "kubernetes.io/config.source"
MEMORY_PRESSURE_TAINT = "node.kubernetes.io/memory-pressure"
TRANSITION_S = 300.0


class Pressure:
    """The pressure on one node. Not thread-safe; never blocks."""

    def __init__(self, thresholds: Sequence[Threshold], transition_s: float = TRANSITION_S) -> None:
        self.thresholds = thresholds
        self._transition_s = transition_s
        self._first_seen: dict[Threshold, float] = {}
        self._last_seen: dict[str, float] = {}
        self._acted_on: tuple[Threshold, ...] = ()
        self.conditions: tuple[str, ...] = ()

    def look(self, observations: Observations, now: float) -> tuple[Threshold, ...]:
        """Take a look in. Returns the thresholds that call for evictions, the most urgent first."""
        low = crossed(self.thresholds, observations)
        low += [one for one in crossed(self._acted_on, observations, reclaim=True) if one not in low]
        self._first_seen = {one: self._first_seen.get(one, now) for one in low}
        for one in low:
            self._last_seen[condition_of(one.signal)] = now
        self.conditions = tuple(
            sorted(
                condition
                for condition, seen in self._last_seen.items()
                if seen == now or now - seen < self._transition_s
            )
        )
        self._acted_on = tuple(one for one, since in self._first_seen.items() if now - since >= one.grace_s)
        return tuple(sorted(self._acted_on, key=lambda one: one.signal not in MEMORY_SIGNALS))

    def remaining(self, observations: Observations) -> list[Threshold]:
        """What is short still, once something was freed."""
        return crossed(self.thresholds, observations, reclaim=True)

    @property
    def is_low(self) -> bool:
        """Whether some threshold was crossed at the last look."""
        return bool(self._first_seen)


def crossed(thresholds: Iterable[Threshold], observations: Observations, *, reclaim: bool = False) -> list[Threshold]:
    """The thresholds below which the node is. reclaim: it is to be above by the minimum reclaim."""
    found = []
    for one in thresholds:
        seen = observations.get(one.signal)
        if seen is None:
            continue
        enough = one.amount.of(seen.capacity)
        if reclaim and one.minimum_reclaim is not None:
            enough += one.minimum_reclaim.of(seen.capacity)
        if seen.available < enough:
            found.append(one)
    return found


def disruption(message: str) -> corev1.PodCondition:
    """The condition of a Pod that the kubelet ends for the node's sake."""
    return corev1.PodCondition(type="DisruptionTarget", status="True", reason="TerminationByKubelet", message=message)


def is_critical(pod: corev1.Pod) -> bool:
    """Whether the node cannot do without a Pod: it stays, and is let in, whatever the pressure."""
    annotations = pod.metadata.annotations
    static = annotations.get(SOURCE_ANNOTATION, "api") != "api"
    return static or MIRROR_ANNOTATION in annotations or pod.spec.priority >= SYSTEM_CRITICAL_PRIORITY


def refused_under(conditions: Sequence[str], pod: corev1.Pod) -> Rejected | None:
    """The refusal of a new Pod on a node with these conditions; None to let it in."""
    if not conditions or is_critical(pod):
        return None
    if tuple(conditions) == (MEMORY_PRESSURE,) and (qos_class(pod) != BEST_EFFORT or _bears_memory_pressure(pod)):
        return None
    return Rejected("Evicted", f"Pod was rejected: The node had condition: [{' '.join(conditions)}]. ")


def _bears_memory_pressure(pod: corev1.Pod) -> bool:
    return any(
        one.key in (MEMORY_PRESSURE_TAINT, "")
        and one.effect in ("NoSchedule", "")
        and (one.operator == "Exists" or (bool(one.key) and not one.value))
        for one in pod.spec.tolerations
    )
