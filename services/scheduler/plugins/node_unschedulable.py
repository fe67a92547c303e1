"""Cordoned nodes take no new Pods."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.node_selection import tolerates
from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal
from navarch.services.scheduler.queue import Change

CORDON = corev1.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class NodeUnschedulable:
    """Refuses nodes with spec.unschedulable, unless the Pod tolerates that."""

    name = "NodeUnschedulable"
    wakes_on = frozenset({Change.NODE_ADDED, Change.NODE_UPDATED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Nothing to ask where the Pod tolerates cordons."""
        return None if tolerates(info.pod.spec.tolerations, CORDON) else check


def check(node: NodeInfo) -> Refusal:
    """Refuse a cordoned node."""
    return "node(s) were unschedulable" if node.node.spec.unschedulable else None
