"""Answers questions about outside names: from memory, or by asking the upstream servers.

However many clients wait for the same question, it is asked once. What is under way is bounded: who comes on top is
told SERVFAIL at once, and asks again or elsewhere, instead of waiting for his own time to run out. Every question gets
an answer within `TOTAL_S`, less than the 5 s after which resolvers in Pods give up.

An upstream server that leads back here would have every question go round until something breaks. So one with an
address of ours is not asked, and each gets one probe under a name that was never used before: if that comes in as a
question, its server is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.dns.forward.cache import Cache, Remembered, aged
from navarch.services.dns.forward.exchange import NoReply, exchange
from navarch.services.dns.forward.reply import Question, Reply, Unusable
from navarch.services.dns.forward.upstreams import Policy, Upstream, Upstreams
from navarch.services.dns.names import Name
from navarch.services.dns.records import Rcode, Type, rcode_name
from navarch.services.dns.responder import Outside, Responder
from navarch.services.dns.wire import Body

ATTEMPT_S = 1.5
TOTAL_S = 4.5
MAX_ATTEMPTS = 4
MAX_UNDER_WAY = 1000
MAX_WAITING = 4000
# That nobody could answer is remembered, too (RFC 9520): a second of questions then costs one.
FAILURE_S = 1.0
PROBE_DOMAIN = "navarch-dns-loop"

Send = Callable[[bytes], None]


@dataclass(slots=True)
class Counts:
    """For metrics. failures: by upstream and what it was."""

    requests: int = 0
    overflows: int = 0
    stale: int = 0
    failures: dict[tuple[str, str], int] = field(default_factory=dict)

    def fail(self, upstream: Upstream, kind: str) -> None:
        """One more failure of this kind."""
        key = (str(upstream), kind)
        self.failures[key] = self.failures.get(key, 0) + 1


class Forwarder:
    """See the module. attempt_s: how long one server has to answer."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        responder: Responder,
        clock: Clock,
        rng: Random,
        *,
        policy: Policy = "random",
        stale_s: float = 0.0,
        attempt_s: float = ATTEMPT_S,
        max_under_way: int = MAX_UNDER_WAY,
    ) -> None:
        self._upstreams = Upstreams(upstreams, policy, rng)
        self._given = tuple(upstreams)
        self._responder = responder
        self._clock = clock
        self._rng = rng
        self._attempt_s = attempt_s
        self._max_under_way = max_under_way
        self._flights: dict[Question, list[tuple[Outside, Send, float]]] = {}
        self._failed_at: dict[Question, float] = {}
        self._waiting = 0
        self._probes: dict[Name, Upstream] = {}
        self._tasks = TaskOwner()
        self._log = get_logger("dns.forward")
        self.cache = Cache(stale_s=stale_s)
        self.counts = Counts()

    def start(self, is_own: Callable[[Upstream], bool]) -> None:
        """Leave out what is ourselves, and probe the others. is_own: whether an address is one of this server."""
        for upstream in self._given:
            if is_own(upstream):
                self._drop(upstream)
            else:
                self._tasks.spawn(self._probe(upstream), f"dns-probe-{upstream}")

    async def stop(self) -> None:
        """Ask no more; who still waits gets nothing."""
        await self._tasks.close()

    def forward(self, outside: Outside, send: Send) -> None:
        """Answer a question now or later, by calling `send` once."""
        began = self._clock.monotonic()
        if outside.name in self._probes:
            self._drop(self._probes.pop(outside.name))
        edns = outside.query.edns
        question = Question(outside.name, outside.query.type, edns is not None and edns.do, outside.query.cd)
        found = self.cache.get(question, began)
        if found is not None:
            self._answer(outside, send, found, began, began)
        elif not len(self._upstreams):
            self._fail(outside, send, began, Rcode.REFUSED)
        elif self._failed_lately(question, began):
            self._fail(outside, send, began)
        elif self._waiting >= MAX_WAITING or (
            question not in self._flights and len(self._flights) >= self._max_under_way
        ):
            self.counts.overflows += 1
            self._fail(outside, send, began)
        else:
            self._wait(question, outside, send, began)

    def _wait(self, question: Question, outside: Outside, send: Send, began: float) -> None:
        self._waiting += 1
        if (flight := self._flights.get(question)) is not None:
            flight.append((outside, send, began))
            return
        self._flights[question] = [(outside, send, began)]
        self._tasks.spawn(self._fly(question), "dns-forward")

    async def _fly(self, question: Question) -> None:
        """Get the answer for all who wait for it."""
        found: Remembered | None = None
        try:
            found = await self._find(question)
        except Exception:
            # Whatever a server made us stumble over must not cost the others theirs.
            self._log.exception("dns.forward_bug", question=question.name)
        waiting = self._flights.pop(question)
        self._waiting -= len(waiting)
        now = self._clock.monotonic()
        for outside, send, began in waiting:
            if found is None:
                self._fail(outside, send, began)
            else:
                self._answer(outside, send, found, began, now)

    async def _find(self, question: Question) -> Remembered | None:
        reply = await self._ask(question)
        now = self._clock.monotonic()
        if reply is not None:
            self._failed_at.pop(question, None)
            self.cache.put(question, reply, now)
            return Remembered(reply, now)
        old = self.cache.get_stale(question, now)
        if old is not None:
            self.counts.stale += 1
            return Remembered(old, now)
        if len(self._failed_at) >= MAX_WAITING:
            self._failed_at.clear()
        self._failed_at[question] = now
        return None

    async def _ask(self, question: Question) -> Reply | None:
        """Ask one server after the other; None if none had an answer."""
        began = self._clock.monotonic()
        order = self._upstreams.order(began)
        attempts = (list(order) * MAX_ATTEMPTS)[: max(2, min(len(order), MAX_ATTEMPTS))] if order else []
        for upstream in attempts:
            left_s = began + TOTAL_S - self._clock.monotonic()
            if left_s <= 0:
                break
            self.counts.requests += 1
            try:
                reply = await exchange(upstream, question, min(self._attempt_s, left_s), self._rng)
            except NoReply as failure:
                self.counts.fail(upstream, "no-reply")
                if self._upstreams.failed(upstream, self._clock.monotonic()):
                    self._log.warning("dns.upstream_failing", upstream=upstream, error=failure)
            except Unusable as failure:
                # Not for its own health to answer for: the name asked about may be at fault.
                self.counts.fail(upstream, rcode_name(failure.rcode))
            else:
                self._upstreams.worked(upstream)
                return reply
        return None

    def _failed_lately(self, question: Question, now: float) -> bool:
        failed = self._failed_at.get(question)
        return failed is not None and now < failed + FAILURE_S

    def _answer(self, outside: Outside, send: Send, found: Remembered, began: float, now: float) -> None:
        name = outside.query.name
        if outside.aliases:
            elapsed_s = int(now - found.came)
            reply = found.reply
            answers = (*outside.aliases, *aged(reply.answers, elapsed_s))
            body, turn = Body(name, answers, aged(reply.authority, elapsed_s)), 0
        else:
            body, turn = found.body(name, now), found.turn()
        self._sent(send, self._responder.finish(outside, found.reply.rcode, body, turn), began)

    def _fail(self, outside: Outside, send: Send, began: float, rcode: Rcode = Rcode.SERVFAIL) -> None:
        self._sent(send, self._responder.finish(outside, rcode, None), began)

    def _sent(self, send: Send, response: bytes, began: float) -> None:
        send(response)
        self._responder.traffic.took(self._clock.monotonic() - began)

    async def _probe(self, upstream: Upstream) -> None:
        name: Name = (f"{self._rng.getrandbits(64):016x}", PROBE_DOMAIN)
        self._probes[name] = upstream
        try:
            await exchange(upstream, Question(name, Type.HINFO), TOTAL_S, self._rng)
        except (NoReply, Unusable) as failure:
            self._log.debug("dns.probe_unanswered", upstream=upstream, error=failure)
        self._probes.pop(name, None)

    def _drop(self, upstream: Upstream) -> None:
        self._upstreams.remove(upstream)
        self._log.error("dns.upstream_is_ourselves", upstream=upstream, left=len(self._upstreams))
