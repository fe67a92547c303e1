"""A store of one copy, as a checker sees it: what a key can be after the operations placed so far. No I/O.

A write without an answer has a revision that nobody was told, known only to be later than the one before it until
an answer says more.
"""

from collections.abc import Iterable
from typing import NamedTuple

from navarch.testing.history import (
    Answer,
    Compare,
    Delete,
    Get,
    Key,
    Operation,
    Put,
    Seen,
    Step,
    Value,
    ValueIs,
)


class KeyState(NamedTuple):
    """A key of the single copy. Its mod revision is `revision`, or any later one when not exact."""

    value: Value | None = None
    revision: int = 0
    exact: bool = False


State = tuple[KeyState, ...]


class SingleCopy:
    """Some keys, and what operations make of them."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._positions = {key: position for position, key in enumerate(sorted(keys))}

    def empty(self) -> State:
        """No key exists."""
        return (KeyState(),) * len(self._positions)

    def describe(self, state: State, key: Key) -> str:
        """A key in words."""
        value, revision, exact = state[self._positions[key]]
        name = key.decode(errors="replace")
        if value is None:
            return f"no {name}" + (f" since revision {revision} or later" if revision else "")
        return f"{name}={value.decode(errors='replace')} (mod {'' if exact else 'after '}{revision})"

    def apply(self, op: Operation, state: State) -> list[State]:
        """The states after an operation, none when its answer contradicts the state."""
        keys = list(state)
        if op.answer is None:
            verdicts = {self._compare(compare, keys) for compare in op.txn.compares}
            branches = [op.txn.success] if False not in verdicts else []
            branches += [op.txn.failure] if verdicts - {True} else []
            return [after for steps in branches if (after := self._take(steps, None, None, list(keys))) is not None]
        succeeded, revision = op.answer.succeeded, op.answer.revision
        if succeeded:
            if not all(self._require(compare, keys) for compare in op.txn.compares):
                return []
        elif all(self._compare(compare, keys) is True for compare in op.txn.compares):
            return []
        after = self._take(op.steps, op.answer.answers, revision, keys)
        return [] if after is None else [after]

    def _compare(self, compare: Compare, keys: list[KeyState]) -> bool | None:
        """Whether a comparison holds; None when that depends on a revision which is not known."""
        state = keys[self._positions[compare.key]]
        if isinstance(compare, ValueIs):
            return state.value == compare.value
        if state.value is None or compare.revision == 0:
            return state.value is None and compare.revision == 0
        if state.exact or compare.revision <= state.revision:
            return state.exact and compare.revision == state.revision
        return None

    def _require(self, compare: Compare, keys: list[KeyState]) -> bool:
        """Let a comparison hold, if it can."""
        holds = self._compare(compare, keys)
        if holds is None and not isinstance(compare, ValueIs):
            position = self._positions[compare.key]
            keys[position] = keys[position]._replace(revision=compare.revision, exact=True)
        return holds is not False

    def _take(
        self, steps: tuple[Step, ...], answers: tuple[Answer, ...] | None, revision: int | None, keys: list[KeyState]
    ) -> State | None:
        for number, step in enumerate(steps):
            position = self._positions[step.key]
            answered = answers is not None and number < len(answers)
            answer = answers[number] if answers is not None and answered else None
            after = _step(step, answer, revision, keys[position], answered)
            if after is None:
                return None
            keys[position] = after
        return tuple(keys)


def _step(step: Step, answer: Answer, revision: int | None, key: KeyState, answered: bool) -> KeyState | None:
    """A key after a step; None when the answer contradicts."""
    if isinstance(step, Get):
        return _read(answer, key) if answered else key
    if isinstance(step, Delete) and answered and answer is not (key.value is not None):
        return None
    if isinstance(step, Delete) and key.value is None:
        return key
    value = step.value if isinstance(step, Put) else None
    if revision is None:
        return KeyState(value, key.revision)
    return None if key.revision > revision else KeyState(value, revision, isinstance(step, Put))


def _read(answer: Answer, key: KeyState) -> KeyState | None:
    if not isinstance(answer, Seen):
        return key if key.value is None else None
    if answer.value != key.value:
        return None
    if answer.mod_revision is None:
        return key
    if key.exact or answer.mod_revision <= key.revision:
        return key if key.exact and answer.mod_revision == key.revision else None
    return key._replace(revision=answer.mod_revision, exact=True)
