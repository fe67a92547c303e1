"""How many Pods a rolling update may have too many, and how many too few."""

from dataclasses import dataclass

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.apps import v1_pb2 as appsv1

_DEFAULT = "25%"


def wanted(spec: appsv1.DeploymentSpec | appsv1.ReplicaSetSpec) -> int:
    """Replicas asked for; 1 where nothing was said."""
    return spec.replicas if spec.HasField("replicas") else 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in Pods. A rollout keeps at least `min_available` Pods available and has at most `max_total`."""

    replicas: int
    max_surge: int
    max_unavailable: int

    @property
    def min_available(self) -> int:
        """Available Pods that a rollout never goes below."""
        return self.replicas - self.max_unavailable

    @property
    def max_total(self) -> int:
        """Pods that a rollout never exceeds."""
        return self.replicas + self.max_surge

    @classmethod
    def of(cls, spec: appsv1.DeploymentSpec) -> "Limits":
        """Percentages count of the replicas: surge is rounded up, unavailable down.

        Where both come out as zero nothing could move, so one Pod may be unavailable. Recreate has neither.
        """
        replicas = wanted(spec)
        if spec.strategy.type == "Recreate":
            return cls(replicas, 0, 0)
        rolling = spec.strategy.rolling_update
        surge = _resolve(rolling.max_surge if rolling.HasField("max_surge") else None, replicas, round_up=True)
        unavailable = _resolve(
            rolling.max_unavailable if rolling.HasField("max_unavailable") else None, replicas, round_up=False
        )
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return cls(replicas, surge, min(unavailable, replicas))


def _resolve(value: intstr_pb2.IntOrString | None, total: int, *, round_up: bool) -> int:
    if value is not None and value.type == 0:
        return value.int_val
    text = value.str_val if value is not None else _DEFAULT
    percent = int(text.removesuffix("%"))
    return -(-percent * total // 100) if round_up else percent * total // 100
