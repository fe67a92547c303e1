"""A log without a disk, for fixtures: a proposal is applied at once, in the caller's turn of the loop."""

from collections.abc import Sequence

from google.protobuf.message import Message

from navarch.services.store.errors import BAD_LEADER_TRANSFEREE, STOPPED
from navarch.services.store.replication.log import Entry, LogStatus, Member, StateMachine


class MemoryLog:
    """A ReplicatedLog of one member that forgets everything with the process."""

    def __init__(self, member: Member, machine: StateMachine) -> None:
        self._member = member
        self._machine = machine
        self._running = False

    async def start(self) -> None:
        """See ReplicatedLog."""
        self._running = True

    async def stop(self) -> None:
        """See ReplicatedLog."""
        self._running = False

    async def propose(self, command: bytes) -> Message:
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
        return LogStatus(self._member.id, self._member.id if self._running else 0, 1, index, index, index)

    def members(self) -> Sequence[Member]:
        """See ReplicatedLog."""
        return (self._member,)

    async def transfer(self, member_id: int) -> None:
        """See ReplicatedLog."""
        if member_id != self._member.id:
            raise BAD_LEADER_TRANSFEREE()

    def release(self, index: int) -> None:
        """See ReplicatedLog: nothing is kept."""
