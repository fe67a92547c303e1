"""ReadIndex: reads that see everything acknowledged before them, without a write to the log (Raft thesis 6.4). No I/O.

A leader notes its commit index, has a majority echo a round of heartbeats begun after that, and may then answer
with the noted index: nobody else can have led, and so acknowledged anything, in between. One round serves
all reads that wait for one. A follower asks the leader, one question for all that wait, and the reader waits until the
index is applied where it reads.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

# Told the index that has to be applied first.
ReadAnswer = Callable[[int], None]


@dataclass(slots=True)
class _Round:
    number: int
    index: int
    answers: list[ReadAnswer]


@dataclass(slots=True)
class _Question:
    """What a follower asked the leader, and when."""

    request_id: int
    asked_at: float
    answers: list[ReadAnswer]


class ReadIndex:
    """The reads that wait, at a leader or a follower."""

    def __init__(self, first: int = 0) -> None:
        """first: where numbers begin; different for each process of a member."""
        self.round = first
        self._waiting: list[ReadAnswer] = []
        self._rounds: deque[_Round] = deque()
        self._echoed: dict[int, int] = {}
        self._question: _Question | None = None

    @property
    def waits(self) -> bool:
        """Whether reads wait for a round or question that has not begun."""
        return bool(self._waiting)

    def add(self, answer: ReadAnswer) -> None:
        """A read that waits."""
        self._waiting.append(answer)

    def forget(self, answer: ReadAnswer) -> None:
        """A read that nobody waits for; once asked for it is answered all the same."""
        if answer in self._waiting:
            self._waiting.remove(answer)

    def begin_round(self, index: int) -> None:
        """Note the commit index for all that wait; heartbeats with the new round number must follow."""
        self.round += 1
        self._rounds.append(_Round(self.round, index, self._waiting))
        self._waiting = []

    def echoed(self, member: int, round_: int) -> None:
        """A member has answered a message of a round, in the leader's term."""
        self._echoed[member] = max(self._echoed.get(member, 0), round_)

    def confirm(self, others: Collection[int]) -> Iterable[tuple[int, ReadAnswer]]:
        """The reads whose round a majority has echoed, with their index. others: the voters besides the leader."""
        needed = (len(others) + 1) // 2
        echoes = sorted((self._echoed.get(member, 0) for member in others), reverse=True)
        confirmed = echoes[needed - 1] if needed else self.round
        while self._rounds and self._rounds[0].number <= confirmed:
            done = self._rounds.popleft()
            for answer in done.answers:
                yield done.index, answer

    def ask(self, now: float) -> int:
        """Begin a question for all that wait; returns its id, for the message."""
        self.round += 1
        self._question = _Question(self.round, now, self._waiting)
        self._waiting = []
        return self.round

    def may_ask(self, now: float, patience_s: float) -> bool:
        """Whether to ask the leader now: something waits, and no question is open or it was lost."""
        question = self._question
        if question is not None and now - question.asked_at > patience_s:
            self._requeue_question()
        return self._question is None and bool(self._waiting)

    def answered(self, request_id: int, index: int) -> Iterable[tuple[int, ReadAnswer]]:
        """The leader's answer; index 0 is a refusal: what was asked waits for another leader, or to be asked again."""
        question = self._question
        if question is None or question.request_id != request_id or not index:
            return
        self._question = None
        for answer in question.answers:
            yield index, answer

    def leader_changed(self) -> None:
        """Start over: no round or question that was begun counts any more."""
        for begun in self._rounds:
            self._waiting += begun.answers
        self._rounds.clear()
        self._echoed.clear()
        self._requeue_question()

    def _requeue_question(self) -> None:
        if self._question is not None:
            self._waiting += self._question.answers
            self._question = None
