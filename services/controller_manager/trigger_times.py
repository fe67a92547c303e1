"""When the change happened that a write of endpoints tells of. For measuring how long the network takes to learn it.

The annotation bears the earliest of the changes since the last look: a Pod's readiness, or the Service's creation.
A write without such a change (labels, say) bears none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.meta import key_of, unix
from navarch.services.controller_manager import pods

ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(frozen=True, slots=True)
class _Seen:
    service: float
    pods: dict[str, float]


@dataclass(slots=True)
class TriggerTimes:
    """Remembers the times of each Service's last look. Only the keys of Services that exist stay in memory."""

    _seen: dict[str, _Seen] = field(default_factory=dict)

    def look(self, service: corev1.Service, behind: Iterable[corev1.Pod]) -> float | None:
        """Unix time of the earliest change since the last look; None without any. behind: the Service's Pods."""
        created = unix(service.metadata.creation_timestamp)
        times = {pod.metadata.name: at for pod in behind if (at := _changed_at(pod))}
        key = key_of(service)
        before, self._seen[key] = self._seen.get(key), _Seen(created, times)
        if before is None:
            return created or None
        changes = [at for name, at in times.items() if at > before.pods.get(name, 0.0)]
        if created > before.service:
            changes.append(created)
        return min(changes, default=None)

    def forget(self, key: str) -> None:
        """A Service is gone."""
        self._seen.pop(key, None)


def annotate(metadata: metav1.ObjectMeta, trigger: float | None) -> None:
    """Write the time down in an object that is to be written."""
    metadata.annotations.pop(ANNOTATION, None)
    if trigger is not None:
        metadata.annotations[ANNOTATION] = _text(trigger)


def _changed_at(pod: corev1.Pod) -> float:
    ready = pods.condition(pod, "Ready")
    return unix(ready.last_transition_time) if ready is not None else 0.0


def _text(at: float) -> str:
    """RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"
