"""What the log needs of the network, and of whoever makes and installs snapshots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from navarch.protos.navarch import store_pb2, store_pb2_grpc


class Receiver(Protocol):
    """Who is told what came from peers; called in the event loop, never concurrently."""

    def received(self, sender: int, messages: Sequence[store_pb2.RaftMessage]) -> None:
        """Messages of one member, in the order it sent them, each at most once."""
        ...

    def connected(self, peer: int) -> None:
        """Messages to this peer can be sent from now on."""
        ...

    def disconnected(self, peer: int) -> None:
        """They cannot; what was under way may be lost."""
        ...


class Transport(Protocol):
    """Carries messages to peers: in order, at most once, none for ever."""

    async def start(self, receiver: Receiver) -> None:
        """Begin to connect."""
        ...

    async def stop(self) -> None:
        """Let go of all connections. Idempotent."""
        ...

    def set_peers(self, peers: Mapping[int, Sequence[str]]) -> None:
        """Who there is besides ourselves, by id, with peer URLs; connections follow."""
        ...

    def send(self, peer: int, message: store_pb2.RaftMessage) -> None:
        """Queue a message; dropped when the peer is not connected or its queue is full. Never blocks."""
        ...

    def stub(self, peer: int) -> store_pb2_grpc.PeerStub | None:
        """For single calls to a peer."""
        ...


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A state machine in a file, up to and including an entry."""

    path: Path
    last_index: int
    last_term: int
    size_bytes: int
    sha256: bytes


class Snapshots(Protocol):
    """Makes and installs what a follower far behind needs."""

    async def make(self) -> SnapshotFile:
        """The state as of now, in a file that is the caller's to remove. Raises OSError."""
        ...

    async def install(self, snapshot: SnapshotFile) -> None:
        """Put a verified file in the place of the state, durably. Raises CorruptionError, OSError: nothing changed."""
        ...
