"""Which upstream server to ask next. Pure: the time comes in, and so does chance.

One that fails twice in a row is asked last for a while, which doubles with each further failure. None is ever given up:
if all have failed, they are still asked, the one first whose time is up first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Literal

PORT = 53
MAX_FAILURES = 2
REST_S = 1.0
MAX_REST_S = 32.0

Policy = Literal["random", "sequential"]


@dataclass(frozen=True, slots=True, order=True)
class Upstream:
    """An address of a server."""

    host: str
    port: int = PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_upstream(text: str) -> Upstream:
    """From "10.0.0.1", "10.0.0.1:5353", "fd00::1" or "[fd00::1]:5353". Raises ValueError that shows the text."""
    host, port = text, ""
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    try:
        number = int(port) if port else PORT
        if not 0 < number < 65536:
            raise ValueError(port)
        return Upstream(str(ip_address(host.strip("[]"))), number)
    except ValueError:
        raise ValueError(f"{text!r} is no upstream; accepted is ADDRESS or ADDRESS:PORT") from None


def of_resolv_conf(text: str) -> list[Upstream]:
    """The name servers of a resolv.conf; lines that are none, and addresses with a scope, are left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(Upstream(str(ip_address(words[1]))))
            except ValueError:
                continue
    return found


@dataclass(slots=True)
class _Health:
    failures: int = 0
    rests_until: float = 0.0


class Upstreams:
    """The servers and how they fared."""

    def __init__(self, upstreams: Iterable[Upstream], policy: Policy, rng: Random) -> None:
        self._health = {each: _Health() for each in upstreams}
        self._policy = policy
        self._rng = rng

    def __len__(self) -> int:
        return len(self._health)

    def order(self, now: float) -> Sequence[Upstream]:
        """All of them, the one to ask first in front. now: monotonic seconds."""
        fit = [each for each, health in self._health.items() if health.rests_until <= now]
        if self._policy == "random":
            self._rng.shuffle(fit)
        resting = [each for each, health in self._health.items() if health.rests_until > now]
        return fit + sorted(resting, key=lambda each: self._health[each].rests_until)

    def worked(self, upstream: Upstream) -> None:
        """It answered."""
        if (health := self._health.get(upstream)) is not None:
            health.failures, health.rests_until = 0, 0.0

    def failed(self, upstream: Upstream, now: float) -> bool:
        """It did not, or not sensibly. Returns whether it begins to rest because of it."""
        health = self._health.get(upstream)
        if health is None:
            return False
        health.failures += 1
        if health.failures < MAX_FAILURES:
            return False
        health.rests_until = now + min(REST_S * 2.0 ** (health.failures - MAX_FAILURES), MAX_REST_S)
        return health.failures == MAX_FAILURES

    def remove(self, upstream: Upstream) -> None:
        """Never ask it again."""
        self._health.pop(upstream, None)
