"""Operations without an answer: which of them took effect after all, and who could tell. No I/O.

Clients that write each value once make this short: who reads such a value with its mod revision has told that the
write took effect, and where among the others.
"""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from navarch.testing.history import (
    Answered,
    Delete,
    Get,
    Key,
    ModRevisionIs,
    Operation,
    Put,
    Seen,
    Txn,
    Value,
    ValueIs,
)

# Stands for every value that only operations without an answer wrote and nobody ever asked for.
_UNSEEN: Final[Value] = b"(a value that nobody saw)"


def may_write(op: Operation) -> bool:
    """Whether an operation could change anything."""
    return any(not isinstance(step, Get) for step in (*op.txn.success, *op.txn.failure))


def resolve(operations: Sequence[Operation]) -> list[Operation]:
    """The operations, those without an answer replaced by what is known of them.

    Where a value that only one of them wrote was seen with its mod revision, that one is given an answer with this
    revision, and no end. In the others the values that nobody saw are made one, so that equal effects compare equal.
    """
    seen = dict(_sightings(operations))
    written = Counter(put for op in operations for put in _puts(op))
    sought = {compare for op in operations for compare in op.txn.compares} | {ValueIs(*put) for put in seen}
    return [op if op.answer is not None else _resolve(op, seen, written, sought) for op in operations]


def _sightings(operations: Sequence[Operation]) -> Iterator[tuple[Put, int | None]]:
    for op in operations:
        if op.answer is not None:
            for step, answer in zip(op.steps, op.answer.answers, strict=True):
                if isinstance(answer, Seen):
                    yield Put(step.key, answer.value), answer.mod_revision


def _puts(op: Operation) -> set[Put]:
    return {step for step in (*op.txn.success, *op.txn.failure) if isinstance(step, Put)}


def _resolve(
    op: Operation, seen: dict[Put, int | None], written: Counter[Put], sought: set[ValueIs | ModRevisionIs]
) -> Operation:
    for put in sorted(_puts(op)):
        revision = seen.get(put)
        if revision is not None and written[put] == 1:
            return replace(op, answer=Answered((), revision, put in op.txn.success))
    success, failure = (
        tuple(
            Put(step.key, _UNSEEN) if isinstance(step, Put) and ValueIs(*step) not in sought else step for step in steps
        )
        for steps in (op.txn.success, op.txn.failure)
    )
    return replace(op, action=Txn(op.txn.compares, success, failure))


class AnyValue:
    """A demand for a key whatever its value."""


# A key and the value it would have to have (None: it would have to be absent).
Demand = tuple[Key, Value | type[AnyValue] | None]


@dataclass(frozen=True, slots=True)
class Trace:
    """What an operation notices and leaves behind.

    demands: what its answer requires, or what decides its effect. writes: what it may write, None for a deletion.
    """

    demands: frozenset[Demand]
    writes: frozenset[tuple[Key, Value | None]]
    keys: frozenset[Key]

    @staticmethod
    def of(op: Operation) -> "Trace":
        """The trace of an operation."""
        steps = op.steps if op.answer is not None else (*op.txn.success, *op.txn.failure)
        writes = frozenset(
            (step.key, step.value if isinstance(step, Put) else None) for step in steps if not isinstance(step, Get)
        )
        return Trace(frozenset(_demands(op)), writes, frozenset(key for key, _ in writes))

    def meets(self, demands: Set[Demand]) -> bool:
        """Whether it may write what is demanded."""
        return any(write in demands or (write[0], AnyValue) in demands for write in self.writes)

    def notices(self, lost: "Trace") -> bool:
        """Whether an operation right after one without an answer could tell that it took effect.

        Of one that wrote several keys, overwriting some is enough: the others may be noticed later.
        """
        return lost.meets(self.demands) or (len(lost.keys) > 1 and not lost.keys.isdisjoint(self.keys))


def _demands(op: Operation) -> Iterator[Demand]:
    if op.answer is None:
        yield from ((compare.key, AnyValue) for compare in op.txn.compares)
        return
    for step, answer in zip(op.steps, op.answer.answers, strict=False):
        if isinstance(step, Get):
            yield step.key, answer.value if isinstance(answer, Seen) else None
        elif isinstance(step, Delete):
            yield step.key, AnyValue if answer else None
    for compare in op.txn.compares:
        if not op.answer.succeeded or (isinstance(compare, ModRevisionIs) and compare.revision):
            yield compare.key, AnyValue
        else:
            yield compare.key, compare.value if isinstance(compare, ValueIs) else None
