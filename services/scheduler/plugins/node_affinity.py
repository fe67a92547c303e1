"""nodeSelector and node affinity: a Pod chooses nodes by their labels."""

from collections.abc import Sequence

from navarch.services.api.node_selection import matches_pod_affinity, matches_term
from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal, ScoreCheck, spread_over_range
from navarch.services.scheduler.queue import Change


class NodeAffinity:
    """Refuses nodes outside nodeSelector or the required affinity."""

    name = "NodeAffinity"
    wakes_on = frozenset({Change.NODE_ADDED, Change.NODE_UPDATED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Nothing to ask where the Pod selects nothing."""
        pod = info.pod
        required = pod.spec.affinity.node_affinity.HasField("required_during_scheduling_ignored_during_execution")
        if not pod.spec.node_selector and not required:
            return None

        def check(node: NodeInfo) -> Refusal:
            return None if matches_pod_affinity(pod, node.node) else "node(s) didn't match Pod's node affinity/selector"

        return check


class NodeAffinityScore:
    """Adds up the weights of the preferred terms that match."""

    name = "NodeAffinity"
    weight = 2

    def prepare(self, info: PodInfo, cluster: Cluster) -> ScoreCheck | None:
        """Nothing to say where nothing is preferred."""
        preferred = info.pod.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution
        if not preferred:
            return None

        def score(nodes: Sequence[NodeInfo]) -> Sequence[float]:
            return spread_over_range(
                [sum(term.weight for term in preferred if matches_term(term.preference, node.node)) for node in nodes]
            )

        return score
