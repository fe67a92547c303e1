"""Taints keep Pods away that do not tolerate them. Source: Kubernetes, Taints and Tolerations."""

from collections.abc import Sequence

from navarch.services.api.node_selection import tolerates
from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal, ScoreCheck, spread_over_range
from navarch.services.scheduler.queue import Change


class TaintToleration:
    """Refuses nodes with an untolerated NoSchedule or NoExecute taint."""

    name = "TaintToleration"
    wakes_on = frozenset({Change.NODE_ADDED, Change.NODE_UPDATED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Asked of every Pod: any node may be tainted."""
        tolerations = list(info.pod.spec.tolerations)

        def check(node: NodeInfo) -> Refusal:
            for taint in node.node.spec.taints:
                if taint.effect in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
                    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
            return None

        return check


class TaintTolerationScore:
    """Prefers nodes with fewer untolerated PreferNoSchedule taints."""

    name = "TaintToleration"
    weight = 3

    def prepare(self, info: PodInfo, cluster: Cluster) -> ScoreCheck | None:
        """Counts such taints a node."""
        tolerations = [one for one in info.pod.spec.tolerations if one.effect in ("", "PreferNoSchedule")]

        def score(nodes: Sequence[NodeInfo]) -> Sequence[float]:
            counts = [
                sum(
                    taint.effect == "PreferNoSchedule" and not tolerates(tolerations, taint)
                    for taint in node.node.spec.taints
                )
                for node in nodes
            ]
            return spread_over_range(counts, reverse=True)

        return score
