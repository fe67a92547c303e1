"""What a plugin is: a filter refuses nodes, a scorer ranks those that are left.

Both prepare once for a Pod and return a function over nodes, so that what depends on the Pod alone or
on the whole cluster is computed once. A plugin with nothing to say about the Pod returns None.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.queue import Change

# The reason a node is refused, as a FailedScheduling Event words it; None lets the node pass.
Refusal = str | None
FilterCheck = Callable[[NodeInfo], Refusal]
# Scores in the order of the nodes given, each 0 (worst) to 100 (best).
ScoreCheck = Callable[[Sequence[NodeInfo]], Sequence[float]]

MAX_SCORE = 100.0


class Filter(Protocol):
    """Refuses nodes for a Pod."""

    name: str
    # The changes after which a Pod that this filter refused is worth another try.
    wakes_on: frozenset[Change]

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """What to ask of each node for this Pod."""
        ...


class Scorer(Protocol):
    """Ranks the nodes that passed all filters."""

    name: str
    weight: int

    def prepare(self, info: PodInfo, cluster: Cluster) -> ScoreCheck | None:
        """How to rank nodes for this Pod."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one node in one pass."""

    node: str
    filter: str = ""
    reason: str = ""
    score: float = 0.0
    scores: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """The outcome of one pass: a node, or why there is none."""

    node: str
    verdicts: tuple[Verdict, ...]
    message: str

    @property
    def refused_by(self) -> frozenset[str]:
        """The filters that refused at least one node."""
        return frozenset(verdict.filter for verdict in self.verdicts if verdict.filter)


def spread_over_range(raw: Sequence[float], *, reverse: bool = False) -> list[float]:
    """Scale raw numbers so that the largest scores 100 (or, reversed, 0)."""
    top = max(raw, default=0.0)
    if top <= 0:
        return [MAX_SCORE if reverse else 0.0] * len(raw)
    scaled = [value / top * MAX_SCORE for value in raw]
    return [MAX_SCORE - value for value in scaled] if reverse else scaled
