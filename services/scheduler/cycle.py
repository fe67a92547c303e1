"""One scheduling pass: all filters over all nodes, then the scorers over those that are left."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import Filter, Placement, Scorer, Verdict
from navarch.services.scheduler.plugins import FILTERS, SCORERS
from navarch.services.scheduler.queue import Change

NO_NODES = "no nodes available to schedule pods"


class Cycle:
    """Places Pods; ``rng`` breaks ties between equally good nodes."""

    def __init__(self, rng: Random, filters: Sequence[Filter] = FILTERS, scorers: Sequence[Scorer] = SCORERS) -> None:
        self._rng = rng
        self._filters = filters
        self._scorers = scorers
        self._wakes_on = {one.name: one.wakes_on for one in filters}

    def wakes(self, filter_name: str, change: Change) -> bool:
        """Whether a change may satisfy the filter of that name."""
        return change in self._wakes_on.get(filter_name, frozenset())

    def place(self, info: PodInfo, cluster: Cluster) -> Placement:
        """Find the best node for the Pod, or say why there is none. Nothing is changed."""
        verdicts, feasible = self._filter(info, cluster)
        if not feasible:
            return Placement("", tuple(verdicts), _explain(verdicts))
        ranked = self._score(info, cluster, feasible)
        best = max(verdict.score for verdict in ranked)
        chosen = self._rng.choice([verdict.node for verdict in ranked if verdict.score == best])
        return Placement(chosen, (*verdicts, *ranked), f"fits {len(feasible)} of {len(cluster)} nodes")

    def _filter(self, info: PodInfo, cluster: Cluster) -> tuple[list[Verdict], list[NodeInfo]]:
        checks = [(one.name, check) for one in self._filters if (check := one.prepare(info, cluster))]
        refused: list[Verdict] = []
        feasible: list[NodeInfo] = []
        for node in cluster.nodes():
            for name, check in checks:
                if reason := check(node):
                    refused.append(Verdict(node.name, name, reason))
                    break
            else:
                feasible.append(node)
        return refused, feasible

    def _score(self, info: PodInfo, cluster: Cluster, feasible: Sequence[NodeInfo]) -> list[Verdict]:
        if len(feasible) == 1:
            return [Verdict(feasible[0].name)]
        totals = [0.0] * len(feasible)
        parts: list[dict[str, float]] = [{} for _ in feasible]
        for scorer in self._scorers:
            if score := scorer.prepare(info, cluster):
                for index, value in enumerate(score(feasible)):
                    totals[index] += scorer.weight * value
                    parts[index][scorer.name] = scorer.weight * value
        return [
            Verdict(node.name, score=total, scores=part)
            for node, total, part in zip(feasible, totals, parts, strict=True)
        ]


def _explain(refused: Sequence[Verdict]) -> str:
    """The line of a FailedScheduling Event: how many nodes failed for which reason."""
    if not refused:
        return NO_NODES
    reasons = Counter(verdict.reason for verdict in refused)
    listed = sorted(f"{count} {reason}" for reason, count in reasons.items())
    return f"0/{len(refused)} nodes are available: {', '.join(listed)}."
