"""What clients did to a key-value store and what they were told: the words in which linearizability is judged.

An operation is an action with the time at which it was asked for and, if there was an answer, the time and content of
that. An operation without an answer (a deadline passed, a connection broke, a leader was lost) has an unknown outcome:
it may take effect at any later time, or never. What was certainly refused does not belong into a history.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

Key = bytes
Value = bytes


class Get(NamedTuple):
    """Read a key; answered by Seen, or None when there is no such key."""

    key: Key


class Put(NamedTuple):
    """Write a key unconditionally; answered by None."""

    key: Key
    value: Value


class Delete(NamedTuple):
    """Remove a key; answered by whether there was one."""

    key: Key


class ValueIs(NamedTuple):
    """A comparison: the key exists and has this value."""

    key: Key
    value: Value


class ModRevisionIs(NamedTuple):
    """A comparison: the key was last written at this revision; 0 for a key that does not exist."""

    key: Key
    revision: int


Step = Get | Put | Delete
Compare = ValueIs | ModRevisionIs


class Txn(NamedTuple):
    """If all comparisons hold, the steps of `success` in order, else those of `failure`; all at once."""

    compares: tuple[Compare, ...] = ()
    success: tuple[Step, ...] = ()
    failure: tuple[Step, ...] = ()


Action = Step | Txn


def compare_and_swap(compare: Compare, value: Value) -> Txn:
    """A Txn that writes the compared key, or else reads it."""
    return Txn((compare,), (Put(compare.key, value),), (Get(compare.key),))


class Seen(NamedTuple):
    """A key as it was read. mod_revision: None when the client did not look."""

    value: Value
    mod_revision: int | None = None


# One for each step: of a Get, a Put (always None) and a Delete.
Answer = Seen | bool | None


class Answered(NamedTuple):
    """The answer to an action: one answer for each step taken; those that are not known may be missing at the end.

    revision: that of the store (a header's in etcd): of a write its own, else that of the state which was read; None
    when not known. succeeded: which branch a Txn took.
    """

    answers: tuple[Answer, ...] = ()
    revision: int | None = None
    succeeded: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """An action of a client between two moments of one clock. answer: None when the outcome is unknown."""

    client: str
    action: Action
    invoked: float
    returned: float = math.inf
    answer: Answered | None = None

    @property
    def txn(self) -> Txn:
        """The action as a Txn."""
        return self.action if isinstance(self.action, Txn) else Txn(success=(self.action,))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that were taken, for an operation with an answer."""
        return self.txn.success if self.answer is None or self.answer.succeeded else self.txn.failure

    @property
    def keys(self) -> set[Key]:
        """The keys that the action may touch."""
        txn = self.txn
        return {part.key for part in (*txn.compares, *txn.success, *txn.failure)}

    @property
    def wrote(self) -> bool:
        """Whether the answer says that something changed, so that the revision is this operation's own."""
        if self.answer is None:
            return False
        answers = self.answer.answers
        return any(isinstance(step, Put) for step in self.steps) or any(answer is True for answer in answers)

    def __str__(self) -> str:
        when = f"{self.invoked:.3f}-{self.returned:.3f} s" if self.answer else f"from {self.invoked:.3f} s, no answer"
        return f"[{when}] {self.client}: {_action(self.action)}" + (f" -> {_answer(self)}" if self.answer else "")


def _action(action: Action) -> str:
    match action:
        case Get(key):
            return f"get {_text(key)}"
        case Put(key, value):
            return f"put {_text(key)}={_text(value)}"
        case Delete(key):
            return f"delete {_text(key)}"
        case Txn():
            compares = ", ".join(_compare(compare) for compare in action.compares)
            success = ", ".join(_action(step) for step in action.success)
            failure = ", ".join(_action(step) for step in action.failure)
            return f"txn if ({compares}) then ({success}) else ({failure})"


def _compare(compare: Compare) -> str:
    if isinstance(compare, ValueIs):
        return f"{_text(compare.key)}={_text(compare.value)}"
    return f"mod({_text(compare.key)})={compare.revision}"


def _answer(operation: Operation) -> str:
    answer = operation.answer
    assert answer is not None
    words = []
    if isinstance(operation.action, Txn) and operation.action.compares:
        words.append("then" if answer.succeeded else "else")
    words += _answers(operation.steps, answer.answers)
    return " ".join(words) + (f" at revision {answer.revision}" if answer.revision is not None else "")


def _answers(steps: tuple[Step, ...], answers: tuple[Answer, ...]) -> Iterator[str]:
    for step, answer in zip(steps, answers, strict=False):
        if isinstance(answer, Seen):
            yield f"{_text(step.key)}={_text(answer.value)}" + (
                f" (mod {answer.mod_revision})" if answer.mod_revision is not None else ""
            )
        elif isinstance(step, Get):
            yield f"no {_text(step.key)}"
        else:
            yield "ok" if isinstance(step, Put) else "deleted" if answer else "nothing to delete"


def _text(data: bytes) -> str:
    shown = data.decode(errors="backslashreplace")
    return shown if len(shown) <= 40 else f"{shown[:30]}... ({len(data)} bytes)"
