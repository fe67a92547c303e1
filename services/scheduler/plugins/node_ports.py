"""Two Pods cannot take the same host port of a node."""

from collections.abc import Iterable

from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal
from navarch.services.scheduler.queue import Change

ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
HostPort = tuple[str, str, int]


def conflicts(wanted: Iterable[HostPort], taken: Iterable[HostPort]) -> bool:
    """Whether a port is wanted that is taken: same protocol and number, and addresses that overlap."""
    taken = list(taken)
    return any(
        protocol == taken_protocol
        and port == taken_port
        and (address == taken_address or address in ANY_ADDRESS or taken_address in ANY_ADDRESS)
        for address, protocol, port in wanted
        for taken_address, taken_protocol, taken_port in taken
    )


class NodePorts:
    """Refuses nodes where a wanted host port is taken."""

    name = "NodePorts"
    wakes_on = frozenset({Change.NODE_ADDED, Change.POD_REMOVED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """Nothing to ask where the Pod wants no host ports."""
        wanted = info.ports
        if not wanted:
            return None

        def check(node: NodeInfo) -> Refusal:
            if any(conflicts(wanted, other.ports) for other in node.pods.values() if other.ports):
                return "node(s) didn't have free ports for the requested pod ports"
            return None

        return check
