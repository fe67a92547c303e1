"""The state a plan works on: copies of a Deployment's ReplicaSets, told apart into new and old.

A strategy resizes and annotates these copies; what came to differ from the originals is what the plan writes.
"""

from collections.abc import Iterable, Sequence

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.controller_manager.deployment import template
from navarch.services.controller_manager.deployment.limits import Limits, wanted

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"


def age_order(replica_set: appsv1.ReplicaSet) -> tuple[int, str]:
    """Sorts the oldest first; names decide between those of the same second."""
    return replica_set.metadata.creation_timestamp.seconds, replica_set.metadata.name


def available(replica_set: appsv1.ReplicaSet) -> int:
    """Available Pods that will stay: those above the wanted size are about to be deleted."""
    return min(replica_set.status.available_replicas, wanted(replica_set.spec))


class Rollout:
    """One Deployment and the ReplicaSets it controls.

    new: the one with the Deployment's template, None before it is made. old: the rest, the oldest first.
    """

    def __init__(self, deployment: appsv1.Deployment, replica_sets: Iterable[appsv1.ReplicaSet]) -> None:
        self.deployment = deployment
        self.limits = Limits.of(deployment.spec)
        self._originals = {each.metadata.name: each for each in replica_sets}
        copies = sorted((_copy(each) for each in self._originals.values()), key=age_order)
        wanted_template = template.canonical(deployment.spec.template)
        # Two with the same template can only be left by an error of somebody; the oldest counts.
        self.new = next((each for each in copies if template.canonical(each.spec.template) == wanted_template), None)
        self.old = [each for each in copies if each is not self.new]

    @property
    def all(self) -> list[appsv1.ReplicaSet]:
        """Old ones, then the new one."""
        return [*self.old, self.new] if self.new is not None else list(self.old)

    def active(self) -> list[appsv1.ReplicaSet]:
        """Those that want Pods."""
        return [each for each in self.all if wanted(each.spec)]

    def active_old(self) -> list[appsv1.ReplicaSet]:
        """Old ones that still want Pods, the oldest first."""
        return [each for each in self.old if wanted(each.spec)]

    def total(self) -> int:
        """Pods wanted by all ReplicaSets together."""
        return sum(wanted(each.spec) for each in self.all)

    def scale(self, replica_set: appsv1.ReplicaSet, size: int) -> None:
        """Resize, and note of what Deployment size this is the share (proportional scaling needs it)."""
        replica_set.spec.replicas = size
        replica_set.metadata.annotations[DESIRED_REPLICAS] = str(self.limits.replicas)
        replica_set.metadata.annotations[MAX_REPLICAS] = str(self.limits.max_total)

    def changed(self) -> Sequence[tuple[appsv1.ReplicaSet, appsv1.ReplicaSet]]:
        """(original, changed copy) of each existing ReplicaSet that differs now.

        Growth comes before shrinking: killed in between, a rollout has too many Pods rather than too few.
        """
        pairs = [
            (original, copy)
            for copy in self.all
            if (original := self._originals.get(copy.metadata.name)) is not None and original != copy
        ]
        return sorted(pairs, key=lambda pair: wanted(pair[1].spec) < wanted(pair[0].spec))


def _copy(replica_set: appsv1.ReplicaSet) -> appsv1.ReplicaSet:
    copy = appsv1.ReplicaSet()
    copy.CopyFrom(replica_set)
    return copy
