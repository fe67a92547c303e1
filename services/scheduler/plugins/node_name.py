"""A Pod may name its node itself."""

from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal
from navarch.services.scheduler.queue import Change


class NodeName:
    """Lets only the named node pass."""

    name = "NodeName"
    wakes_on = frozenset({Change.NODE_ADDED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Nothing to ask where the Pod names no node."""
        wanted = info.pod.spec.node_name
        if not wanted:
            return None

        def check(node: NodeInfo) -> Refusal:
            return None if node.name == wanted else "node(s) didn't match the requested node name"

        return check
