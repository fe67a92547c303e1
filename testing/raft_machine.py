"""A small replicated state machine for simulations of Raft: keys with mod revisions, and the members. No I/O.

Commands are numbers of a table that the simulation keeps, so that nothing has to be encoded. Every machine notes what
it applied with the world's record, which refuses a second truth about an index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from navarch.services.store.replication.log import Entry, Member
from navarch.testing.history import Action, Answer, Answered, Compare, Delete, Get, Key, Seen, Step, Txn, ValueIs


@dataclass(frozen=True, slots=True)
class AddLearner:
    """A change of members."""

    member_id: int


@dataclass(frozen=True, slots=True)
class Promote:
    """A change of members: a learner becomes a voter."""

    member_id: int


@dataclass(frozen=True, slots=True)
class Remove:
    """A change of members."""

    member_id: int


Change = AddLearner | Promote | Remove
Command = Action | Change


class Record:
    """What was committed, as the first machine to apply it saw it. Raises AssertionError for another truth."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.committed: dict[int, tuple[int, bytes]] = {}
        self.indexes: dict[Command, int] = {}

    def encode(self, command: Command) -> bytes:
        """A command as bytes."""
        self.commands.append(command)
        return b"%d" % (len(self.commands) - 1)

    def applied(self, entry: Entry) -> Command | None:
        """The command of a committed entry; None for the log's own."""
        known = self.committed.setdefault(entry.index, (entry.term, entry.command))
        if known != (entry.term, entry.command):
            raise AssertionError(f"committed entry {entry.index} was {known}, is now {entry.term, entry.command}")
        if not entry.command:
            return None
        command = self.commands[int(entry.command)]
        self.indexes[command] = entry.index
        return command


class Machine:
    """What a member has applied. Copies are cheap: values are shared."""

    def __init__(self, record: Record, members: Mapping[int, Member], as_of: int = 0) -> None:
        """as_of: the members include all changes up to this entry."""
        self._record = record
        self.as_of = as_of
        self.applied_index = self.applied_term = 0
        self.members: Mapping[int, Member] = members
        self.removed: frozenset[int] = frozenset()
        self.keys: dict[Key, Seen] = {}
        self.revision = 1

    def copy(self) -> "Machine":
        """A machine that goes its own way from here."""
        other = Machine(self._record, self.members, self.as_of)
        other.become(self)
        return other

    def become(self, other: "Machine") -> None:
        """Take over another's state. The mapping of members is a new one."""
        self.as_of = max(self.as_of, other.as_of)
        self.applied_index, self.applied_term = other.applied_index, other.applied_term
        if other.as_of >= self.as_of:
            self.members, self.removed = dict(other.members), other.removed
        self.keys, self.revision = dict(other.keys), other.revision

    def meet(self, other: "Machine") -> bool:
        """Take over another's members if they are newer, as members tell each other of them outside of the log."""
        if other.as_of <= self.as_of:
            return False
        self.as_of, self.members, self.removed = other.as_of, dict(other.members), other.removed
        return True

    def contents(self) -> tuple[Any, ...]:
        """Equal for machines that are in the same state."""
        return self.applied_index, self.revision, sorted(self.keys.items()), sorted(self.members.items())

    def apply(self, entries: Sequence[Entry]) -> list[Any]:
        """See StateMachine."""
        return [self._apply(entry) for entry in entries]

    def _apply(self, entry: Entry) -> Any:
        if entry.index != self.applied_index + 1 and self.applied_index:
            raise AssertionError(f"entry {entry.index} applied after {self.applied_index}")
        self.applied_index, self.applied_term = entry.index, entry.term
        command = self._record.applied(entry)
        if command is None:
            return None
        if isinstance(command, Change):
            return self._change(command, entry.index)
        return self.run(command)

    def _change(self, change: Change, index: int) -> Mapping[int, Member] | None:
        """The members after a change, None when it was refused."""
        if index <= self.as_of:
            return self.members
        member = self.members.get(change.member_id)
        members = dict(self.members)
        if isinstance(change, AddLearner) and member is None and change.member_id not in self.removed:
            members[change.member_id] = Member(change.member_id, str(change.member_id), is_learner=True)
        elif isinstance(change, Promote) and member is not None and member.is_learner:
            members[change.member_id] = Member(change.member_id, member.name)
        elif isinstance(change, Remove) and member is not None and len(members) > 1:
            del members[change.member_id]
            self.removed |= {change.member_id}
        else:
            return None
        self.members, self.as_of = members, index
        return members

    def run(self, action: Action) -> Answered:
        """Do what a client asks for."""
        txn = action if isinstance(action, Txn) else Txn(success=(action,))
        holds = all(self._holds(compare) for compare in txn.compares)
        revision = self.revision + 1
        answers = tuple(self._step(step, revision) for step in (txn.success if holds else txn.failure))
        return Answered(answers, self.revision, holds)

    def _holds(self, compare: Compare) -> bool:
        found = self.keys.get(compare.key)
        if isinstance(compare, ValueIs):
            return found is not None and found.value == compare.value
        return ((found.mod_revision or 0) if found else 0) == compare.revision

    def _step(self, step: Step, revision: int) -> Answer:
        if isinstance(step, Get):
            return self.keys.get(step.key)
        if isinstance(step, Delete):
            found = self.keys.pop(step.key, None) is not None
            self.revision = revision if found else self.revision
            return found
        self.revision = revision
        self.keys[step.key] = Seen(step.value, revision)
        return None
