"""In which order Pods end when the node goes down, and how long each group may take. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError
from navarch.services.kubelet.core.pressure import SYSTEM_CRITICAL_PRIORITY

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
REFUSED_REASON = "NodeShutdown"
REFUSED_MESSAGE = "Pod was rejected as the node is shutting down."
NODE_MESSAGE = "node is shutting down"


@dataclass(slots=True)
class Group:
    """Pods from this priority on (up to the next group's) end together, within so many seconds."""

    priority: int
    period_s: float
    pods: list[corev1.Pod] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShutdownPolicy:
    """Seconds for each priority, the lowest first; empty for no graceful shutdown."""

    periods: tuple[tuple[int, float], ...] = ()

    @property
    def total_s(self) -> float:
        """How long a shutdown may take."""
        return sum(period_s for _, period_s in self.periods)

    def groups(self, pods: Iterable[corev1.Pod]) -> list[Group]:
        """The Pods in the order in which they end; groups without any are left out."""
        groups = [Group(priority, period_s) for priority, period_s in self.periods]
        for pod in pods:
            at_most = [group for group in groups if group.priority <= pod.spec.priority]
            (at_most[-1] if at_most else groups[0]).pods.append(pod)
        return [group for group in groups if group.pods]


def by_grace_periods(total_s: float, critical_s: float) -> ShutdownPolicy:
    """All may take `total_s`, of which the last `critical_s` are for critical Pods. Raises ThresholdError."""
    if critical_s > total_s:
        raise ThresholdError(
            f"invalid configuration: shutdownGracePeriodCriticalPods {critical_s:g}s must be <= "
            f"shutdownGracePeriod {total_s:g}s"
        )
    if not total_s:
        return ShutdownPolicy()
    return ShutdownPolicy(((0, total_s - critical_s), (SYSTEM_CRITICAL_PRIORITY, critical_s)))


def by_priorities(text: str) -> ShutdownPolicy:
    """Read "0=20,10000=10": seconds for each priority. Raises ThresholdError."""
    pairs: Sequence[Sequence[str]] = [entry.partition("=")[::2] for entry in text.split(",") if entry]
    try:
        return ShutdownPolicy(tuple(sorted((int(priority), float(seconds)) for priority, seconds in pairs)))
    except ValueError:
        raise ThresholdError(f'invalid priorities "{text}", expected <priority>=<seconds>,...') from None
