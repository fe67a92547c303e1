"""Replicas spread over nodes, zones and other topology domains.

The filter holds ``whenUnsatisfiable: DoNotSchedule`` constraints. The scorer prefers domains with fewer
Pods like this one: by the Pod's ``ScheduleAnyway`` constraints or, without any, by node among the Pods of
the same controller. Source: Kubernetes, Pod Topology Spread Constraints.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of
from navarch.services.api.node_selection import matches_pod_affinity
from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal, ScoreCheck, spread_over_range
from navarch.services.scheduler.queue import Change

HOSTNAME = "kubernetes.io/hostname"


class PodTopologySpread:
    """Refuses nodes whose domain would get more than maxSkew Pods above the emptiest domain."""

    name = "PodTopologySpread"
    # Anything: a domain that is gone, or a Pod more elsewhere, lowers the skew as well.
    wakes_on = frozenset(Change)

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Count the Pods of each domain once, over the nodes that the Pod could use."""
        hard = [one for one in info.pod.spec.topology_spread_constraints if one.when_unsatisfiable == "DoNotSchedule"]
        if not hard:
            return None
        eligible = [node for node in cluster.nodes() if matches_pod_affinity(info.pod, node.node)]
        checks = [_hard_check(info.pod, constraint, eligible) for constraint in hard]

        def check(node: NodeInfo) -> Refusal:
            return next((refusal for one in checks if (refusal := one(node))), None)

        return check


def _hard_check(
    pod: corev1.Pod, constraint: corev1.TopologySpreadConstraint, eligible: Iterable[NodeInfo]
) -> FilterCheck:
    matches = _matcher(pod, constraint)
    counts = _count(eligible, constraint.topology_key, matches)
    enough_domains = len(counts) >= (constraint.min_domains or 1)
    lowest = min(counts.values(), default=0) if enough_domains else 0
    itself = int(matches(pod))

    def check(node: NodeInfo) -> Refusal:
        domain = node.node.metadata.labels.get(constraint.topology_key)
        if domain is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        if counts.get(domain, 0) + itself - lowest > constraint.max_skew:
            return "node(s) didn't match pod topology spread constraints"
        return None

    return check


class Spreading:
    """Prefers the domains with the fewest Pods like this one."""

    name = "PodTopologySpread"
    weight = 2

    def prepare(self, info: PodInfo, cluster: Cluster) -> ScoreCheck | None:
        """Nothing to say for a Pod without constraints and without a controller."""
        rules = [
            (one.topology_key, _matcher(info.pod, one))
            for one in info.pod.spec.topology_spread_constraints
            if one.when_unsatisfiable == "ScheduleAnyway"
        ]
        if not rules and (owner := controller_of(info.pod)):
            rules = [(HOSTNAME, _sibling_matcher(info.pod.metadata.namespace, owner.uid))]
        if not rules:
            return None

        def score(nodes: Sequence[NodeInfo]) -> Sequence[float]:
            crowding = [0.0] * len(nodes)
            for topology_key, matches in rules:
                counts = _count(nodes, topology_key, matches)
                for index, node in enumerate(nodes):
                    crowding[index] += counts[_domain(node, topology_key)]
            return spread_over_range(crowding, reverse=True)

        return score


def _domain(node: NodeInfo, topology_key: str) -> str:
    # Every node is its own host, also where the label is missing.
    return node.node.metadata.labels.get(topology_key) or (node.name if topology_key == HOSTNAME else "")


def _count(nodes: Iterable[NodeInfo], topology_key: str, matches: Callable[[corev1.Pod], bool]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for node in nodes:
        if domain := _domain(node, topology_key):
            counts[domain] += sum(matches(other.pod) for other in node.pods.values())
    return counts


def _matcher(pod: corev1.Pod, constraint: corev1.TopologySpreadConstraint) -> Callable[[corev1.Pod], bool]:
    selector = Selector.of(constraint.label_selector)
    namespace = pod.metadata.namespace
    same = {key: pod.metadata.labels.get(key) for key in constraint.match_label_keys}

    def matches(other: corev1.Pod) -> bool:
        labels = other.metadata.labels
        return (
            other.metadata.namespace == namespace
            and not other.metadata.HasField("deletion_timestamp")
            and selector.matches(labels)
            and all(labels.get(key) == value for key, value in same.items())
        )

    return matches


def _sibling_matcher(namespace: str, owner_uid: str) -> Callable[[corev1.Pod], bool]:
    def matches(other: corev1.Pod) -> bool:
        owner = controller_of(other)
        return other.metadata.namespace == namespace and owner is not None and owner.uid == owner_uid

    return matches
