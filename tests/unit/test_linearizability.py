"""The checker of linearizability: histories known to be good or bad, and an obvious slow checker beside it."""

import math
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.testing.history import (
    Action,
    Answer,
    Answered,
    Delete,
    Get,
    ModRevisionIs,
    Operation,
    Put,
    Seen,
    Step,
    Txn,
    ValueIs,
    compare_and_swap,
)
from navarch.testing.linearizability import UndecidedError, check

A, B, X, Y, Z = b"a", b"b", b"x", b"y", b"z"


def op(begin: float, end: float, action: Action, *answers: Answer, at: int | None = None, ok: bool = True) -> Operation:
    return Operation(f"c{begin}", action, begin, end, Answered(answers, at, ok))


def lost(begin: float, action: Action) -> Operation:
    return Operation(f"c{begin}", action, begin)


def swap(old: bytes, new: bytes) -> Txn:
    return compare_and_swap(ValueIs(A, old), new)


BOTH = Txn(success=(Put(A, X), Put(B, X)))
READ_BOTH = Txn(success=(Get(A), Get(B)))

GOOD = {
    "empty": [],
    "nothing there": [op(1, 2, Get(A), None)],
    "write then read": [op(1, 2, Put(A, X), None), op(3, 4, Get(A), Seen(X))],
    "read during a write, before it": [op(1, 9, Put(A, X), None), op(2, 3, Get(A), None), op(4, 5, Get(A), Seen(X))],
    "concurrent writes in either order": [
        op(1, 9, Put(A, X), None),
        op(1, 9, Put(A, Y), None),
        op(10, 11, Get(A), Seen(X)),
    ],
    "lost write took effect late": [
        lost(1, Put(A, X)),
        op(2, 3, Get(A), None),
        op(4, 5, Put(A, Y), None),
        op(6, 7, Get(A), Seen(X)),
    ],
    "lost write never took effect": [lost(1, Put(A, X)), op(2, 3, Get(A), None)],
    "lost swap after a lost write": [lost(1, Put(A, X)), lost(2, swap(X, Y)), op(3, 4, Get(A), Seen(Y))],
    "lost delete": [op(1, 2, Put(A, X), None), lost(3, Delete(A)), op(4, 5, Get(A), None)],
    "unseen lost write lets a swap fail": [
        op(1, 2, Put(A, X), None),
        lost(3, Put(A, Y)),
        op(4, 5, Txn((ValueIs(A, X),), (Put(A, Z),)), ok=False),
    ],
    "unseen lost write is deleted": [lost(1, Put(A, X)), op(2, 3, Delete(A), True), op(4, 5, Delete(A), False)],
    "create once": [
        op(1, 2, Txn((ModRevisionIs(A, 0),), (Put(A, X),)), None, at=2),
        op(3, 4, Txn((ModRevisionIs(A, 0),), (Put(A, Y),)), at=2, ok=False),
        op(5, 6, Txn((ModRevisionIs(A, 2),), (Put(A, Y),)), None, at=3),
    ],
    "swap on the revision of a lost write": [
        op(1, 2, Put(A, X), None, at=2),
        lost(3, Put(A, Y)),
        op(4, 5, Txn((ModRevisionIs(A, 3),), (Put(A, Z),)), None, at=4),
        op(6, 7, Get(A), Seen(Z, 4), at=4),
    ],
    "txn read whole": [op(1, 2, BOTH, None, None), op(3, 4, READ_BOTH, Seen(X), Seen(X))],
    "lost txn took effect": [lost(1, BOTH), op(3, 4, READ_BOTH, Seen(X), Seen(X))],
    "lost txn half overwritten": [
        lost(3, Txn(success=(Put(A, Y), Put(B, Y)))),
        op(4, 5, Put(A, Z), None),
        op(8, 9, Get(B), Seen(Y)),
        op(10, 11, Get(A), Seen(Z)),
    ],
    "steps of a txn see each other": [
        op(1, 2, Txn(success=(Put(A, X), Get(A), Delete(A))), None, Seen(X, 2), True, at=2)
    ],
    "revisions order concurrent writes": [
        op(1, 9, Put(A, X), None, at=3),
        op(1, 9, Put(A, Y), None, at=2),
        op(10, 11, Get(A), Seen(X, 3), at=3),
    ],
}

BAD = {
    "stale read": [op(1, 2, Put(A, X), None), op(3, 4, Put(A, Y), None), op(5, 6, Get(A), Seen(X))],
    "stale read, by revision": [op(1, 2, Put(A, X), None, at=7), op(3, 4, Get(B), None, at=6)],
    "read of the future": [op(1, 2, Get(A), Seen(X)), op(3, 4, Put(A, X), None)],
    "read of the future of a lost write": [op(1, 2, Get(A), Seen(X)), lost(3, Put(A, X))],
    "reads go back": [
        op(1, 9, Put(A, X), None),
        op(2, 3, Get(A), Seen(X)),
        op(4, 5, Get(A), None),
    ],
    "lost write": [op(1, 2, Put(A, X), None), op(3, 4, Get(A), None)],
    "value from nowhere": [op(1, 2, Get(A), Seen(X))],
    "double apply": [
        op(1, 2, Put(A, X), None),
        op(3, 4, Put(A, Y), None),
        op(5, 6, Get(A), Seen(Y)),
        op(7, 8, Get(A), Seen(X)),
    ],
    "double apply of a lost write": [
        lost(1, Put(A, X)),
        op(2, 3, Get(A), Seen(X)),
        op(4, 5, Put(A, Y), None),
        op(6, 7, Get(A), Seen(X)),
    ],
    "double apply, by revision": [op(1, 2, Put(A, X), None, at=2), op(3, 4, Get(A), Seen(X, 3), at=3)],
    "two writes of one revision": [op(1, 9, Put(A, X), None, at=2), op(1, 9, Put(B, X), None, at=2)],
    "revisions against time": [op(1, 2, Put(A, X), None, at=3), op(3, 4, Put(B, X), None, at=2)],
    "swap that should have failed": [op(1, 2, Put(A, X), None), op(3, 4, swap(Y, Z), None)],
    "swap that should not have failed": [op(1, 2, Put(A, X), None), op(3, 4, swap(X, Z), Seen(X), ok=False)],
    "both of two swaps won": [op(1, 2, Put(A, X), None), op(3, 9, swap(X, Y), None), op(3, 9, swap(X, Z), None)],
    "create twice": [
        op(1, 2, Txn((ModRevisionIs(A, 0),), (Put(A, X),)), None),
        op(3, 4, Txn((ModRevisionIs(A, 0),), (Put(A, Y),)), None),
    ],
    "deleted twice": [op(1, 2, Put(A, X), None), op(3, 4, Delete(A), True), op(5, 6, Delete(A), True)],
    "txn torn": [op(1, 9, BOTH, None, None), op(2, 3, READ_BOTH, Seen(X), None)],
    "lost txn whose other write was overwritten": [
        op(1, 2, Put(A, X), None),
        lost(3, Txn(success=(Put(A, Y), Put(B, Y)))),
        op(4, 5, Put(A, Z), None),
        op(6, 7, Get(B), None),
        op(8, 9, Get(B), Seen(Y)),
        op(10, 11, Get(A), Seen(Z)),
    ],
    "lost txn torn": [lost(1, BOTH), op(2, 3, Get(A), Seen(X)), op(4, 5, Get(B), None)],
    "two keys in two orders": [
        op(1, 9, Put(A, X), None),
        op(1, 9, Put(B, X), None),
        op(2, 3, READ_BOTH, Seen(X), None),
        op(4, 5, READ_BOTH, None, Seen(X)),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_accepts(history: list[Operation]) -> None:
    verdict = check(history)
    assert verdict.ok, verdict.explanation


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_refuses(history: list[Operation]) -> None:
    assert not check(history).ok


def test_verdict_is_in_words_of_the_domain() -> None:
    verdict = check(
        [
            op(1, 2, Put(A, X), None, at=2),
            op(3, 4, Put(A, Y), None, at=3),
            op(5, 6, Get(A), Seen(X, 2), at=3),
            lost(5, Put(A, Z)),
            op(5, 6, Put(B, Z), None, at=4),
        ]
    )
    assert verdict.explanation == (
        "no order explains what was answered for a\n"
        "after these, which can be put in order:\n"
        "  [1.000-2.000 s] c1: put a=x -> ok at revision 2\n"
        "  [3.000-4.000 s] c3: put a=y -> ok at revision 3\n"
        "which leave:\n"
        "  a=y (mod 3)\n"
        "none of these can come next:\n"
        "  [5.000-6.000 s] c5: get a -> a=x (mod 2) at revision 3\n"
        "even if these had any effect:\n"
        "  [from 5.000 s, no answer] c5: txn if () then (put a=(a value that nobody saw)) else ()"
    )


def test_gives_up_when_told_to() -> None:
    history = [op(1, 99, Put(A, b"%d" % n), None) for n in range(20)] + [op(100, 101, Get(A), Seen(b"no"))]
    with pytest.raises(UndecidedError):
        check(history, max_states=1000)


# An obvious slow checker -----------------------------------------------------------------------------------------


def linearizable(history: list[Operation]) -> bool:
    """Whether any order of the answered operations and any of the lost ones explains all answers."""
    answered = [op for op in history if op.answer is not None]
    missing = [op for op in history if op.answer is None]
    for bits in range(1 << len(missing)):
        chosen = answered + [op for index, op in enumerate(missing) if bits >> index & 1]
        if any(_in_time(order) and _explains(order) for order in permutations(chosen)):
            return True
    return False


def _in_time(order: tuple[Operation, ...]) -> bool:
    return all(later.returned >= earlier.invoked for index, earlier in enumerate(order) for later in order[index + 1 :])


def _explains(order: Iterable[Operation]) -> bool:
    store = Store()
    for operation in order:
        answer = store.run(operation.action)
        if operation.answer is None:
            continue
        if (operation.answer.answers, operation.answer.succeeded) != (
            without_revisions(answer.answers),
            answer.succeeded,
        ):
            return False
    return True


def without_revisions(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    return tuple(Seen(answer.value) if isinstance(answer, Seen) else answer for answer in answers)


class Store:
    """A single copy that answers as etcd does."""

    def __init__(self) -> None:
        self.keys: dict[bytes, Seen] = {}
        self.revision = 1

    def run(self, action: Action) -> Answered:
        txn = action if isinstance(action, Txn) else Txn(success=(action,))
        holds = all(self._holds(compare) for compare in txn.compares)
        before = self.revision
        answers = tuple(self._step(step, before + 1) for step in (txn.success if holds else txn.failure))
        return Answered(answers, self.revision, holds)

    def _holds(self, compare: ValueIs | ModRevisionIs) -> bool:
        found = self.keys.get(compare.key)
        if isinstance(compare, ValueIs):
            return found is not None and found.value == compare.value
        return (found.mod_revision if found else 0) == compare.revision

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


KEYS = st.sampled_from([A, B])
VALUES = st.sampled_from([X, Y, Z])
STEPS = st.one_of(st.builds(Get, KEYS), st.builds(Put, KEYS, VALUES), st.builds(Delete, KEYS))
TXNS = st.builds(
    Txn,
    st.lists(st.builds(ValueIs, KEYS, VALUES) | st.builds(ModRevisionIs, KEYS, st.just(0)), max_size=2).map(tuple),
    st.lists(STEPS, min_size=1, max_size=2).map(tuple),
    st.lists(STEPS, max_size=2).map(tuple),
)
ACTIONS = STEPS | TXNS


@st.composite
def histories(draw: st.DrawFn, most: int = 5) -> list[Operation]:
    """What a single copy did at some moment in each interval; then, perhaps, one answer is replaced."""
    store = Store()
    history = []
    moments = sorted(draw(st.lists(st.tuples(st.integers(0, 20), ACTIONS), max_size=most)), key=lambda pair: pair[0])
    for moment, action in moments:
        begin, end = moment - draw(st.integers(0, 6)), moment + draw(st.integers(0, 6))
        took_effect = draw(st.integers(0, 4))
        if took_effect == 0:
            history.append(Operation("c", action, begin))
        else:
            answer = store.run(action)
            history.append(Operation("c", action, begin, end, answer if took_effect > 1 else None))
            if took_effect == 1:
                history[-1] = replace(history[-1], returned=math.inf)
    return history


@given(histories())
def test_accepts_what_a_single_copy_answers(history: list[Operation]) -> None:
    verdict = check(history)
    assert verdict.ok, verdict.explanation


@given(histories(), st.data())
def test_agrees_with_the_slow_checker(history: list[Operation], data: st.DataObject) -> None:
    history = [
        replace(op, answer=Answered(without_revisions(op.answer.answers), None, op.answer.succeeded))
        if op.answer
        else op
        for op in history
    ]
    for index, operation in enumerate(history):
        if operation.answer is not None and data.draw(st.integers(0, 2)) == 0:
            history[index] = replace(operation, answer=data.draw(_other_answer(operation)))
    assert check(history).ok == linearizable(history)


@st.composite
def _other_answer(draw: st.DrawFn, operation: Operation) -> Answered:
    txn = operation.txn
    succeeded = draw(st.booleans()) if txn.compares else True
    answers: list[Answer] = []
    for step in txn.success if succeeded else txn.failure:
        if isinstance(step, Get):
            answers.append(draw(st.none() | st.builds(Seen, VALUES)))
        else:
            answers.append(None if isinstance(step, Put) else draw(st.booleans()))
    return Answered(tuple(answers), None, succeeded)


# Size ------------------------------------------------------------------------------------------------------------


def long_history(count: int, clients: int, keys: int, revisions: bool, txns: bool) -> list[Operation]:
    rng = random.Random(7)
    store = Store()
    history = []
    free_at = [0.0] * clients
    calls: list[tuple[float, float, float, str]] = []
    for _ in range(count):
        client = rng.randrange(clients)
        begin = free_at[client] + rng.random() * 0.002
        end = begin + rng.random() * 0.02
        free_at[client] = end
        calls.append((rng.uniform(begin, end), begin, end, f"c{client}"))
    for number, (_, begin, end, client_name) in enumerate(sorted(calls)):
        key, other = (b"k%d" % rng.randrange(keys) for _ in range(2))
        value = b"v%d" % number
        found = store.keys.get(key)
        choices: list[Action] = [Get(key), Put(key, value), Delete(key)]
        choices += [compare_and_swap(ValueIs(key, found.value if found and rng.random() < 0.6 else b"?"), value)]
        if txns:
            choices += [Txn((ModRevisionIs(key, 0),), (Put(key, value), Put(other, value)), (Get(key), Get(other)))]
        action = rng.choice(choices)
        if rng.random() < 0.02:
            if rng.random() < 0.5:
                store.run(action)
            history.append(Operation(client_name, action, begin))
            continue
        answer = store.run(action)
        if not revisions:
            answer = Answered(without_revisions(answer.answers), None, answer.succeeded)
        history.append(Operation(client_name, action, begin, end, answer))
    return history


@pytest.mark.parametrize(("revisions", "txns"), [(True, True), (True, False), (False, False)])
def test_decides_long_histories(revisions: bool, txns: bool) -> None:
    history = long_history(20_000, clients=20, keys=20, revisions=revisions, txns=txns)
    began = time.perf_counter()
    verdict = check(history)
    print(f"{verdict.states} states, {time.perf_counter() - began:.1f} s")
    assert verdict.ok, verdict.explanation
    reads = [index for index, op in enumerate(history) if isinstance(op.action, Get) and op.answer]
    late = history[reads[-200]]
    answer = Answered((Seen(b"v1"),), late.answer.revision if late.answer else None)
    history[reads[-200]] = replace(late, answer=answer)
    try:
        assert not check(history, max_states=30_000).ok
    except UndecidedError as undecided:
        assert f"none of these can come next:\n  {history[reads[-200]]}" in str(undecided)
