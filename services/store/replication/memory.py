"""A log without a disk, for fixtures: a proposal is applied at once, in the caller's turn of the loop."""

from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from navarch.services.store.errors import BAD_LEADER_TRANSFEREE, STOPPED
from navarch.services.store.replication.log import Entry, LogStatus, Member, StateMachine


class MemoryLog:
    """A ReplicatedLog of one member that forgets everything with the process."""

    def __init__(self, member_id: int, machine: StateMachine) -> None:
        self._member_id = member_id
        self._machine = machine
        self._running = False
        self.on_role: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """See ReplicatedLog."""
        self._running = True
        self.on_role()

    async def stop(self) -> None:
        """See ReplicatedLog."""
        self._running = False

    async def propose(self, command: bytes, *, membership: bool = False) -> Message:
        """See ReplicatedLog."""
        if not self._running:
            raise STOPPED()
        (outcome,) = self._machine.apply([Entry(self._machine.applied_index + 1, 1, command)])
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        return outcome

    async def read_index(self) -> int:
        """See ReplicatedLog."""
        if not self._running:
            raise STOPPED()
        return self._machine.applied_index

    @property
    def term(self) -> int:
        """See ReplicatedLog."""
        return 1

    def status(self) -> LogStatus:
        """See ReplicatedLog."""
        index = self._machine.applied_index
        leader_id = self._member_id if self._running else 0
        return LogStatus(self._member_id, leader_id, 1, index, index, index)

    def members(self) -> Sequence[Member]:
        """See ReplicatedLog."""
        return tuple(self._machine.members.values())

    def members_changed(self) -> None:
        """See ReplicatedLog."""

    def match_index(self, member_id: int) -> int:
        """See ReplicatedLog."""
        return self._machine.applied_index if member_id == self._member_id else 0

    def silent_s(self, member_id: int) -> float:
        """See ReplicatedLog."""
        return 0.0

    async def transfer(self, member_id: int) -> None:
        """See ReplicatedLog."""
        if member_id not in (0, self._member_id):
            raise BAD_LEADER_TRANSFEREE()

    def release(self, index: int) -> None:
        """See ReplicatedLog: nothing is kept."""
