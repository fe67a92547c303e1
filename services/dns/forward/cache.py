"""What upstream servers said, for as long as it is good. Pure: the time comes in.

Bounded: of too many, the one goes that was not asked for the longest. What is no longer good may be kept for a while,
for when no upstream server answers (RFC 8767).
"""

from collections import OrderedDict
from collections.abc import Sequence

from navarch.services.dns.forward.reply import Question, Reply
from navarch.services.dns.names import Name
from navarch.services.dns.records import Record
from navarch.services.dns.wire import Body

MAX_ENTRIES = 10_000
# How long a stale record may be believed by who gets it (RFC 8767, 4).
STALE_TTL_S = 30


class Remembered:
    """A reply and when it came, in monotonic seconds."""

    __slots__ = ("_body", "_elapsed_s", "_turn", "came", "reply")

    def __init__(self, reply: Reply, came: float) -> None:
        self.reply = reply
        self.came = came
        self._turn = 0
        self._elapsed_s = -1
        self._body: Body | None = None

    def is_fresh(self, now: float) -> bool:
        """Whether it is still good."""
        return now < self.came + self.reply.ttl_s

    def body(self, name: Name, now: float) -> Body:
        """Of a response to who asked for this name, less what has passed of the records' time. Made once a second."""
        elapsed_s = int(now - self.came)
        if self._body is None or elapsed_s != self._elapsed_s:
            reply = self.reply
            self._body = Body(name, aged(reply.answers, elapsed_s), aged(reply.authority, elapsed_s))
            self._elapsed_s = elapsed_s
        return self._body

    def turn(self) -> int:
        """The next rotation."""
        self._turn += 1
        return self._turn


def aged(found: Sequence[Record], elapsed_s: int) -> tuple[Record, ...]:
    """Records that are this much older."""
    return tuple(Record(each.name, each.type, max(0, each.ttl - elapsed_s), each.rdata) for each in found)


def stale(reply: Reply) -> Reply:
    """A reply whose time is up, as it is given when there is no better."""
    answers, authority = (
        tuple(Record(each.name, each.type, STALE_TTL_S, each.rdata) for each in section)
        for section in (reply.answers, reply.authority)
    )
    return Reply(reply.rcode, answers, authority, 0)


class Cache:
    """stale_s: for how long what is no longer good is kept; 0: not at all."""

    def __init__(self, max_entries: int = MAX_ENTRIES, stale_s: float = 0.0) -> None:
        self._entries: OrderedDict[Question, Remembered] = OrderedDict()
        self._max_entries = max_entries
        self._stale_s = stale_s
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question, now: float) -> Remembered | None:
        """What is still good."""
        found = self._entries.get(question)
        if found is None or not found.is_fresh(now):
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(question)
        return found

    def get_stale(self, question: Question, now: float) -> Reply | None:
        """What was good not long ago."""
        found = self._entries.get(question)
        if found is None or now >= found.came + found.reply.ttl_s + self._stale_s:
            return None
        return stale(found.reply)

    def put(self, question: Question, reply: Reply, now: float) -> None:
        """Remember a reply; one of no duration is not remembered, and puts nothing else out."""
        if reply.ttl_s <= 0:
            return
        self._entries[question] = Remembered(reply, now)
        self._entries.move_to_end(question)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
