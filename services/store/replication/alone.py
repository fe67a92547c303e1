"""The transport of a member that has no peers."""

from collections.abc import Mapping, Sequence

from navarch.protos.navarch import store_pb2, store_pb2_grpc
from navarch.services.store.replication.transport import Receiver


class NoPeers:
    """A Transport that connects to nobody."""

    async def start(self, receiver: Receiver) -> None:
        """See Transport."""

    async def stop(self) -> None:
        """See Transport."""

    def set_peers(self, peers: Mapping[int, Sequence[str]]) -> None:
        """See Transport."""

    def send(self, peer: int, message: store_pb2.RaftMessage) -> None:
        """See Transport."""

    def stub(self, peer: int) -> store_pb2_grpc.PeerStub | None:
        """See Transport."""
        return None
