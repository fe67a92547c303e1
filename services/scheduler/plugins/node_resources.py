"""Requests must fit into what a node has left; among fitting nodes the emptier is better."""

from collections.abc import Sequence

from navarch.services.scheduler.cluster import SCORING_DEFAULTS, Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import MAX_SCORE, FilterCheck, Refusal, ScoreCheck
from navarch.services.scheduler.queue import Change


class NodeResourcesFit:
    """Refuses nodes with too few Pods, CPU, memory or other resources left."""

    name = "NodeResourcesFit"
    wakes_on = frozenset({Change.NODE_ADDED, Change.NODE_UPDATED, Change.POD_REMOVED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Asked of every Pod: each takes one of the node's Pod places."""
        requests = info.requests

        def check(node: NodeInfo) -> Refusal:
            if len(node.pods) + 1 > node.allocatable.get("pods", 0):
                return "Too many pods"
            for resource, wanted in requests.items():
                if wanted > node.allocatable.get(resource, 0) - node.requested.get(resource, 0):
                    return f"Insufficient {resource}"
            return None

        return check


class LeastAllocated:
    """Prefers nodes with the larger share of CPU and memory left."""

    name = "NodeResourcesFit"
    weight = 1

    def prepare(self, info: PodInfo, cluster: Cluster) -> ScoreCheck | None:
        """Counts Pods without requests with a small default, so that they spread as well."""
        wanted = info.scoring_requests

        def free_share(node: NodeInfo) -> float:
            shares = []
            for resource in SCORING_DEFAULTS:
                allocatable = node.allocatable.get(resource, 0)
                used = node.scoring_requested.get(resource, 0) + wanted[resource]
                shares.append(max(0.0, (allocatable - used) / allocatable) if allocatable else 0.0)
            return sum(shares) / len(shares) * MAX_SCORE

        def score(nodes: Sequence[NodeInfo]) -> Sequence[float]:
            return [free_share(node) for node in nodes]

        return score
