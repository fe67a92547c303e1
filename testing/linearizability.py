"""Is a history of operations linearizable? A search for one order in which a single copy would answer the same.

The search is Wing and Gong's with Lowe's memory of dead ends: from the front of what is not yet placed, try each
operation that no other one precedes in time, and never twice the same set of placed operations with the same state.
What keeps it short for long histories:

* keys that no Txn connects are judged apart;
* the store's revisions, where answers carry them, order their operations: only the next one is ever tried, and a
  write without an answer only where a revision is missing;
* an operation that matches and changes nothing is placed at once, since it can only ever be in the way;
* one without an answer counts as answered once somebody saw what it wrote; else it is only placed if that writes what
  was missing when the search got stuck later on, and of several with the same effect the oldest first.

What a revision says is judged too: a write has one of its own, and later operations do not see earlier revisions.
The search never calls a linearizable history wrong. It may miss an impossible revision of a write that had no answer.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from navarch.testing.history import Action, Get, Key, Operation
from navarch.testing.lost_operations import Demand, Trace, may_write, resolve
from navarch.testing.single_copy import SingleCopy, State

_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a history is linearizable; if not, why, in words. states: how many were visited."""

    ok: bool
    explanation: str = ""
    states: int = 0


class UndecidedError(Exception):
    """The search was given up: neither an order was found, nor that there is none."""


def check(history: Iterable[Operation], *, max_states: int = 500_000) -> Verdict:
    """Judge a history that began with an empty store. Raises UndecidedError."""
    operations = resolve([op for op in history if op.answer is not None or may_write(op)])
    complaint = _check_revisions(operations)
    if complaint:
        return Verdict(False, complaint)
    revisions = sorted(op.answer.revision for op in operations if op.answer and op.answer.revision and op.wrote)
    states = 0
    for part in _partition(operations):
        search = _Search(part, revisions, max_states - states)
        complaint = search.run()
        states += search.states
        if complaint:
            return Verdict(False, complaint, states)
    return Verdict(True, states=states)


def _check_revisions(operations: Sequence[Operation]) -> str:
    """What is wrong with the revisions as such, whatever the keys; empty when nothing."""
    answered = [op for op in operations if op.answer is not None and op.answer.revision is not None]
    writers: dict[int, Operation] = {}
    for op in answered:
        if op.wrote and (other := writers.setdefault(_revision(op), op)) is not op:
            return f"two writes were acknowledged with revision {_revision(op)}:\n  {other}\n  {op}"
    by_return = sorted(answered, key=lambda op: op.returned)
    newest: Operation | None = None
    position = 0
    for op in sorted(answered, key=lambda op: op.invoked):
        while by_return[position].returned < op.invoked:
            earlier = by_return[position]
            newest = earlier if newest is None or _revision(earlier) > _revision(newest) else newest
            position += 1
        if newest is not None and _revision(op) < _revision(newest) + op.wrote:
            kind = "a write" if op.wrote else "a stale read"
            return f"{kind} at revision {_revision(op)} after {_revision(newest)} had been shown:\n  {newest}\n  {op}"
    return ""


def _revision(op: Operation) -> int:
    assert op.answer is not None
    assert op.answer.revision is not None
    return op.answer.revision


def _partition(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The operations by the keys that they or others connect."""
    parents: dict[Key, Key] = {}

    def root(key: Key) -> Key:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = key = parents[parent]
        return key

    for op in operations:
        first, *others = sorted(op.keys)
        for key in others:
            parents[root(key)] = root(first)
    parts: dict[Key, list[Operation]] = {}
    for op in operations:
        parts.setdefault(root(min(op.keys)), []).append(op)
    return [parts[key] for key in sorted(parts)]


class _Node(NamedTuple):
    """Where the search stands: which operations are placed, and what they made of the keys.

    base: all answered operations before this one are placed; placed: a bit for each from there on; ordered: how many of
    those with a revision are placed; lost: a bit for each placed one without an answer; since: how many of these were
    placed after the last one with a revision.
    """

    base: int
    placed: int
    ordered: int
    lost: int
    since: int
    state: State


class _Frame:
    """A node under trial, the moves left, and what was missing where it led so far."""

    def __init__(self, node: _Node) -> None:
        self.node = node
        self.blame: set[Demand] = set()
        self.moves: Iterator[tuple[Operation, _Node]] = iter(())


class _Search:
    """The search over operations on keys that belong together."""

    def __init__(self, operations: Sequence[Operation], revisions: Sequence[int], max_states: int) -> None:
        """revisions: of all writes whose revision is known, of other keys too, in order."""
        self._revisions = revisions
        answered = [op for op in operations if op.answer is not None]
        self._answered = sorted(answered, key=lambda op: (op.invoked, op.returned))
        self._lost = sorted((op for op in operations if op.answer is None), key=lambda op: op.invoked)
        self._answered_traces = [Trace.of(op) for op in self._answered]
        self._lost_traces = [Trace.of(op) for op in self._lost]
        self._model = SingleCopy({key for op in operations for key in op.keys})
        # The place of an operation among those with a revision: a read comes after the write that it saw.
        self._rank = [_rank(op) for op in self._answered]
        self._ranks = sorted(rank for rank in self._rank if rank is not None)
        self._max_states = max_states
        self._deepest = (-1, _Node(0, 0, 0, 0, 0, ()), [Operation("", Get(b""), 0)])
        self.states = 0

    def run(self) -> str:
        """Search; returns a complaint, empty when an order was found. Raises UndecidedError."""
        start = _Frame(_Node(0, 0, 0, 0, 0, self._model.empty()))
        start.moves = self._moves(start)
        # Nodes that lead nowhere, with what was missing there.
        dead: dict[_Node, frozenset[Demand]] = {}
        path: list[Operation] = []
        frames = [start]
        while frames:
            frame = frames[-1]
            found = next(frame.moves, None)
            if found is None:
                frames.pop()
                dead[frame.node] = blame = frozenset(frame.blame)
                if frames:
                    path.pop()
                    frames[-1].blame |= blame
                continue
            op, node = found
            if node in dead:
                frame.blame |= dead[node]
                continue
            self.states += 1
            if self.states > self._max_states:
                raise UndecidedError(f"gave up after {self._max_states} states; at the furthest {self._explain()}")
            if node.base == len(self._answered):
                return ""
            path.append(op)
            self._note_depth(node, path)
            frames.append(_Frame(node))
            frames[-1].moves = self._moves(frames[-1])
        return self._explain() if self._answered else ""

    def _note_depth(self, node: _Node, path: list[Operation]) -> None:
        depth = node.base + node.placed.bit_count()
        if depth > self._deepest[0]:
            self._deepest = (depth, node, path[-_SHOWN:])

    def _moves(self, frame: "_Frame") -> Iterator[tuple[Operation, _Node]]:
        """What may come next. While it is tried, the frame learns what was missing in dead ends."""
        node = frame.node
        candidates, first_end = self._candidates(node)
        has_room = self._has_room(node)
        moves: list[tuple[Operation, _Node]] = []
        for index in candidates:
            op = self._answered[index]
            states = self._model.apply(op, node.state)
            if not states:
                frame.blame |= self._answered_traces[index].demands
            for state in states:
                move = (op, self._place(node, index, state))
                if state == node.state and (self._rank[index] is None or not has_room):
                    yield move
                    return
                moves.append(move)
        yield from moves
        if has_room:
            yield from self._lost_moves(frame, [self._answered_traces[index] for index in candidates], first_end)

    def _candidates(self, node: _Node) -> tuple[list[int], float]:
        """The answered operations that may come next, and when the first that is not placed ended."""
        found = []
        rank = self._ranks[node.ordered] if node.ordered < len(self._ranks) else None
        first_end = math.inf
        placed = node.placed
        for index in range(node.base, len(self._answered)):
            op = self._answered[index]
            if op.invoked > first_end:
                break
            if not placed & 1:
                first_end = min(first_end, op.returned)
                if self._rank[index] is None or self._rank[index] == rank:
                    found.append(index)
            placed >>= 1
        return found, first_end

    def _place(self, node: _Node, index: int, state: State) -> _Node:
        placed = node.placed | 1 << (index - node.base)
        shift = (~placed & (placed + 1)).bit_length() - 1
        ranked = self._rank[index] is not None
        since = 0 if ranked else node.since
        return _Node(node.base + shift, placed >> shift, node.ordered + ranked, node.lost, since, state)

    def _has_room(self, node: _Node) -> bool:
        """Whether a revision is left for a write without an answer before the next known one."""
        if node.ordered == len(self._ranks):
            return True
        before = self._ranks[node.ordered - 1][0] if node.ordered else 0
        revision, read = self._ranks[node.ordered]
        taken = bisect_left(self._revisions, revision + read) - bisect_right(self._revisions, before)
        return node.since < revision + read - before - 1 - taken

    def _lost_moves(
        self, frame: "_Frame", candidates: list[Trace], first_end: float
    ) -> Iterator[tuple[Operation, _Node]]:
        """Operations without an answer that write what was missing."""
        node = frame.node
        waiting: dict[Action, int] = {}
        for index, op in enumerate(self._lost):
            if op.invoked <= first_end and not node.lost >> index & 1:
                waiting.setdefault(op.action, index)
        eligible = list(waiting.values()) if self._ranks else self._noticed(waiting.values(), candidates)
        while found := [index for index in eligible if self._lost_traces[index].meets(frame.blame)]:
            for index in found:
                frame.blame |= self._lost_traces[index].demands
                eligible.remove(index)
                op = self._lost[index]
                for state in self._model.apply(op, node.state):
                    if state != node.state:
                        lost = node.lost | 1 << index
                        yield op, node._replace(lost=lost, since=node.since + 1, state=state)

    def _noticed(self, waiting: Iterable[int], readers: list[Trace]) -> list[int]:
        """Those that something which comes next could notice, perhaps by way of others.

        Where revisions bind nothing, an operation that is not noticed yet may as well come later.
        """
        left = list(waiting)
        noticed: list[int] = []
        while readers:
            found = [i for i in left if any(reader.notices(self._lost_traces[i]) for reader in readers)]
            readers = [self._lost_traces[index] for index in found]
            noticed += found
            left = [index for index in left if index not in found]
        return noticed

    def _explain(self) -> str:
        _, node, path = self._deepest
        if not node.state:
            node, path = _Node(0, 0, 0, 0, 0, self._model.empty()), []
        candidates = [self._answered[index] for index in self._candidates(node)[0]]
        if not candidates:
            rank = self._ranks[node.ordered]
            candidates = [op for op, of in zip(self._answered, self._rank, strict=True) if of == rank]
        keys = sorted({key for op in candidates for key in op.keys})
        lost = [op for index, op in enumerate(self._lost) if not node.lost >> index & 1 and op.keys & set(keys)]
        lines = [f"no order explains what was answered for {', '.join(key.decode(errors='replace') for key in keys)}"]
        lines += ["after these, which can be put in order:", *(f"  {op}" for op in path)]
        lines += ["which leave:", *(f"  {self._model.describe(node.state, key)}" for key in keys)]
        lines += ["none of these can come next:", *(f"  {op}" for op in candidates[:_SHOWN])]
        if lost:
            lines += ["even if these had any effect:", *(f"  {op}" for op in lost[:_SHOWN])]
        return "\n".join(lines)


def _rank(op: Operation) -> tuple[int, bool] | None:
    return None if op.answer is None or op.answer.revision is None else (op.answer.revision, not op.wrote)
