"""What the scheduler knows of the cluster: nodes, and what the Pods on them take.

Fed by watch events, one at a time, at a cost that depends on the event alone. A Pod that was just
placed is *assumed* on its node until the watch confirms it, so that the next Pod sees it there.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import pod_resources
from navarch.services.api.meta import key_of
from navarch.services.api.pod_resources import Amounts

# What a container without requests counts as when nodes are compared, so that such Pods spread too.
SCORING_DEFAULTS = {"cpu": 100, "memory": 200 << 20}


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A Pod with what filters and scorers ask of it, computed once."""

    key: str
    pod: corev1.Pod
    requests: Amounts
    scoring_requests: Amounts
    ports: frozenset[tuple[str, str, int]]
    required_anti_affinity: tuple[corev1.PodAffinityTerm, ...]

    @classmethod
    def of(cls, pod: corev1.Pod) -> "PodInfo":
        """Compute the info of ``pod``, which is not changed."""
        requests = pod_resources.held_requests(pod)
        anti_affinity = pod.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
        return cls(
            key=key_of(pod),
            pod=pod,
            requests=requests,
            scoring_requests={name: requests.get(name, default) for name, default in SCORING_DEFAULTS.items()},
            ports=frozenset(pod_resources.host_ports(pod)),
            required_anti_affinity=tuple(anti_affinity),
        )


@dataclass(slots=True)
class NodeInfo:
    """A node and the sums over its Pods."""

    node: corev1.Node
    allocatable: Amounts
    pods: dict[str, PodInfo] = field(default_factory=dict)
    requested: Amounts = field(default_factory=dict)
    scoring_requested: Amounts = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.metadata.name

    def update(self, node: corev1.Node) -> None:
        """Take a newer version of the node."""
        self.node = node
        self.allocatable = pod_resources.amounts(node.status.allocatable)
        self.images = {name: image.size_bytes for image in node.status.images for name in image.names}

    def _count(self, info: PodInfo, sign: int) -> None:
        for total, amounts in (
            (self.requested, info.requests),
            (self.scoring_requested, info.scoring_requests),
        ):
            for resource, value in amounts.items():
                total[resource] = total.get(resource, 0) + sign * value

    def add(self, info: PodInfo) -> None:
        """Count a Pod in, replacing an older version of it."""
        self.remove(info.key)
        self.pods[info.key] = info
        self._count(info, 1)

    def remove(self, key: str) -> None:
        """Count a Pod out, if it is here."""
        if info := self.pods.pop(key, None):
            self._count(info, -1)


class Cluster:
    """Nodes by name and the node of each Pod.

    Pods of nodes that are not known (yet) are kept aside, so that the order of events does not matter.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}
        self._placed: dict[str, tuple[str, PodInfo]] = {}
        self._assumed: set[str] = set()
        self._waiting: dict[str, set[str]] = {}
        # Labels by namespace, for affinity terms that select namespaces.
        self.namespaces: dict[str, Mapping[str, str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def nodes(self) -> Iterable[NodeInfo]:
        """All nodes, in the order they came."""
        return self._nodes.values()

    def node(self, name: str) -> NodeInfo | None:
        """A node by name."""
        return self._nodes.get(name)

    def pods(self) -> Iterator[tuple[NodeInfo, PodInfo]]:
        """Every placed Pod with its node."""
        for node in self._nodes.values():
            for info in node.pods.values():
                yield node, info

    def set_node(self, node: corev1.Node) -> None:
        """Add a node or take its newer version."""
        name = node.metadata.name
        known = self._nodes.get(name)
        if known is None:
            known = self._nodes[name] = NodeInfo(node, {})
            for key in self._waiting.pop(name, ()):
                known.add(self._placed[key][1])
        known.update(node)

    def remove_node(self, name: str) -> None:
        """Forget a node; Pods on it are kept until they are deleted themselves."""
        if (gone := self._nodes.pop(name, None)) and gone.pods:
            self._waiting[name] = set(gone.pods)

    def assume(self, info: PodInfo, node_name: str) -> None:
        """Count a Pod on a node before the API says so."""
        self._place(info, node_name)
        self._assumed.add(info.key)

    def is_assumed(self, key: str) -> bool:
        """Whether the Pod was placed and the API has not confirmed it."""
        return key in self._assumed

    def forget(self, info: PodInfo) -> bool:
        """Take an assumption back: the binding failed. Returns whether this very Pod was still assumed."""
        return info.key in self._assumed and self._placed[info.key][1] is info and self.remove_pod(info.key)

    def set_pod(self, pod: corev1.Pod) -> None:
        """A Pod that the API shows on a node."""
        self._place(PodInfo.of(pod), pod.spec.node_name)

    def remove_pod(self, key: str) -> bool:
        """A Pod that is gone or has finished. Returns whether it counted anywhere."""
        self._assumed.discard(key)
        placed = self._placed.pop(key, None)
        if placed is None:
            return False
        if node := self._nodes.get(placed[0]):
            node.remove(key)
        elif waiting := self._waiting.get(placed[0]):
            waiting.discard(key)
            if not waiting:
                del self._waiting[placed[0]]
        return True

    @contextmanager
    def without(self, key: str) -> Iterator[None]:
        """The cluster as if this Pod had no place. Nothing may be awaited or changed inside."""
        node_name, info = self._placed.get(key, ("", None))
        node = self._nodes.get(node_name)
        if node is None or info is None:
            yield
            return
        node.remove(key)
        try:
            yield
        finally:
            node.add(info)

    def _place(self, info: PodInfo, node_name: str) -> None:
        self.remove_pod(info.key)
        self._placed[info.key] = (node_name, info)
        if node := self._nodes.get(node_name):
            node.add(info)
        else:
            self._waiting.setdefault(node_name, set()).add(info.key)
