"""What the store needs of a replicated log, and what the log needs of a state machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

# The answer to a command, the refusal of it, or None for an entry that carries no command.
Outcome = Message | Exception | None


class Entry(NamedTuple):
    """A committed entry. An empty command is the log's own and changes nothing."""

    index: int  # type: ignore[assignment]  # Raft's word, though tuples have a method of that name
    term: int
    command: bytes


class StateMachine(Protocol):
    """What committed entries are applied to. Never called concurrently."""

    applied_index: int

    def apply(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Apply entries in order; one outcome each."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One voter of the log."""

    id: int
    name: str
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogStatus:
    """A member's view. leader_id is 0 when there is none."""

    member_id: int
    leader_id: int
    term: int
    last_index: int
    commit_index: int
    applied_index: int

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.leader_id == self.member_id


class ReplicatedLog(Protocol):
    """An ordered log of opaque commands, agreed on and durable before they are applied."""

    async def start(self) -> None:
        """Recover and apply what was acknowledged earlier; returns when proposals and reads are possible."""
        ...

    async def stop(self) -> None:
        """Refuse what is waiting and release the files. Idempotent."""
        ...

    async def propose(self, command: bytes) -> Message:
        """Append a command; returns the state machine's answer once durable and applied.

        Raises the refusal of the state machine, or EtcdError when the outcome is unknown (timeout, stop).
        Proposals made in one order by one task are applied in that order.
        """
        ...

    async def read_index(self) -> int:
        """Wait until this member has applied everything acknowledged before the call; returns that index."""
        ...

    @property
    def term(self) -> int:
        """The current term; `status` in full costs more."""
        ...

    def status(self) -> LogStatus:
        """Where the log stands."""
        ...

    def members(self) -> Sequence[Member]:
        """The voters."""
        ...

    async def transfer(self, member_id: int) -> None:
        """Hand leadership to a member. Raises EtcdError."""
        ...

    def release(self, index: int) -> None:
        """The state machine is durable up to this index: older entries may go."""
        ...
