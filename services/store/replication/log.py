"""What the store needs of a replicated log, and what the log needs of a state machine."""

from collections.abc import Callable, Mapping, Sequence, Set
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


@dataclass(frozen=True, slots=True)
class Member:
    """A voter of the log, or a learner, which is sent everything and asked nothing."""

    id: int
    name: str
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class StateMachine(Protocol):
    """What committed entries are applied to. Never called concurrently.

    members: who takes part as of the applied entries, by id; a change replaces the mapping. removed: who did once and
    must not come back.
    """

    applied_index: int
    applied_term: int
    members: Mapping[int, Member]
    removed: Set[int]

    def apply(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Apply entries in order; one outcome each."""
        ...


@dataclass(frozen=True, slots=True)
class LogStatus:
    """A member's view. leader_id is 0 when there is none.

    pending, failed: how many proposals of this member have no answer yet, and how many never got one.
    """

    member_id: int
    leader_id: int
    term: int
    last_index: int
    commit_index: int
    applied_index: int
    pending: int = 0
    failed: int = 0

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.leader_id == self.member_id


class ReplicatedLog(Protocol):
    """An ordered log of opaque commands, agreed on and durable before they are applied.

    on_role: called after this member begins or ceases to lead, or sees another leader.
    """

    on_role: Callable[[], None]

    async def start(self) -> None:
        """Recover what was acknowledged earlier. A single member leads and has applied all of it on return."""
        ...

    async def stop(self) -> None:
        """Refuse what is waiting and release the files. Idempotent."""
        ...

    async def propose(self, command: bytes, *, membership: bool = False) -> Message:
        """Append a command; returns the state machine's answer once durable and applied here.

        membership: whether the command changes the members; only one such is accepted at a time.

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
        """Voters and learners."""
        ...

    def members_changed(self) -> None:
        """The state machine has learned of members from others, ahead of the log."""
        ...

    def match_index(self, member_id: int) -> int:
        """How far a member has the log, as the leader knows it; 0 elsewhere."""
        ...

    def silent_s(self, member_id: int) -> float:
        """How long the leader has not heard from a member; 0 elsewhere."""
        ...

    async def transfer(self, member_id: int) -> None:
        """Hand leadership to a member, 0 for the one that is nearest. Raises EtcdError."""
        ...

    def release(self, index: int) -> None:
        """The state machine is durable up to this index: older entries may go."""
        ...
