"""navarch.v1.Network: how each other node is reached, and why so."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import grpc

from navarch.protos.navarch import network_pb2, network_pb2_grpc
from navarch.services.api.errors import NotFound
from navarch.services.network.facts import NodeFacts
from navarch.services.network.planner import REFUSED, ROUTE, UNREACHABLE, VXLAN, WIREGUARD, Peer, Plan

Context = grpc.aio.ServicerContext[object, object]
HOWS = (ROUTE, VXLAN, WIREGUARD, UNREACHABLE, REFUSED)
WAITING, READY, CONFLICT, OTHER = "waiting", "ready", "conflict", "other"


@dataclass(frozen=True, slots=True)
class Change:
    """That a Pod CIDR of a peer is reached otherwise than before. how: "gone" for one that is no more."""

    node: str
    cidr: str
    how: str
    via: str = ""
    reason: str = ""


@dataclass
class State:
    """What the agent knows and does, for whoever asks."""

    node: str
    encryption: str = ""
    name: str = WAITING
    message: str = ""
    mtu: int = 0
    pod_cidrs: tuple[str, ...] = ()
    peers: Mapping[str, Peer] = field(default_factory=dict)

    def waits(self, message: str) -> None:
        """For something that the network needs."""
        self.name, self.message = WAITING, message

    def gives_way(self, own: NodeFacts, config: str) -> bool:
        """To another network. Returns whether that is new."""
        message = f"the CNI configuration {config} comes before ours: its network is in charge"
        is_new = (self.name, self.message) != (OTHER, message)
        self.name, self.message, self.peers = OTHER, message, {}
        self.pod_cidrs = tuple(map(str, own.cidrs))
        return is_new

    def planned(self, plan: Plan) -> list[Change]:
        """Take over a plan that has been carried out. Returns what has changed for peers."""
        before = _ways(self.peers)
        self.name, self.message = (CONFLICT, plan.conflict) if plan.conflict else (READY, "")
        self.mtu, self.pod_cidrs = plan.mtu, tuple(map(str, plan.cidrs))
        self.peers = {peer.node: peer for peer in plan.peers}
        after = _ways(self.peers)
        changes = [change for key, change in after.items() if before.get(key) != change]
        return changes + [Change(*key, "gone") for key in before if key not in after]

    def counts(self) -> dict[str, int]:
        """Pod CIDRs of peers, by how they are reached."""
        found = Counter(way.how for peer in self.peers.values() for way in peer.ways)
        return {how: found[how] for how in HOWS}


def _ways(peers: Mapping[str, Peer]) -> dict[tuple[str, str], Change]:
    return {
        (peer.node, way.cidr): Change(peer.node, way.cidr, way.how, way.via, way.reason)
        for peer in peers.values()
        for way in peer.ways
    }


class NetworkServicer(network_pb2_grpc.NetworkServicer):
    """Answers from the last look."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    async def Describe(self, request: network_pb2.DescribeNetworkRequest, context: Context) -> network_pb2.NodeNetwork:
        """The node's network, with one peer or all."""
        state = self._state()
        if request.node and request.node not in state.peers:
            raise NotFound("nodes", request.node)
        peers = [state.peers[request.node]] if request.node else [state.peers[name] for name in sorted(state.peers)]
        return network_pb2.NodeNetwork(
            node=state.node,
            pod_cidrs=state.pod_cidrs,
            state=state.name,
            message=state.message,
            mtu=state.mtu,
            peers=map(_peer, peers),
            encryption=state.encryption,
        )


def _peer(peer: Peer) -> network_pb2.NetworkPeer:
    ways = (
        network_pb2.NetworkWay(pod_cidr=way.cidr, how=way.how, via=way.via, device=way.device, reason=way.reason)
        for way in peer.ways
    )
    return network_pb2.NetworkPeer(node=peer.node, ways=ways)
