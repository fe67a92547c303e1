"""Who of the announcers lives, by their heartbeats. Pure.

The API server's word on a dead node comes after 40 s, and not at all while it is away itself; so the announcers tell
each other. A heartbeat names its node and counts up; where there is a key, it is signed.
"""

import hmac
import struct
from dataclasses import dataclass, field
from hashlib import sha256

BEAT_S = 0.3
# Three lost ones in a row, and a little.
LIFE_S = 1.2
MAGIC = b"NVHB"
COUNTER = struct.Struct(">Q")
LONGEST_NAME = 253


def heartbeat(node: str, count: int, key: bytes) -> bytes:
    """A datagram. count: above that of the one before, also after a restart. key: b"" does not sign."""
    body = MAGIC + COUNTER.pack(count) + node.encode()
    return _signature(body, key) + body


def read(datagram: bytes, key: bytes) -> tuple[str, int] | None:
    """Node and count; None for what is no heartbeat, or not signed with the key."""
    size = len(_signature(b"", key))
    signature, body = datagram[:size], datagram[size:]
    if not hmac.compare_digest(signature, _signature(body, key)) or not body.startswith(MAGIC):
        return None
    rest = body[len(MAGIC) :]
    if len(rest) <= COUNTER.size or len(rest) > COUNTER.size + LONGEST_NAME:
        return None
    try:
        return rest[COUNTER.size :].decode(), COUNTER.unpack_from(rest)[0]
    except UnicodeDecodeError:
        return None


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, body, sha256).digest() if key else b""


@dataclass(slots=True)
class Members:
    """The living, as one node knows them. since: when it began to listen (monotonic seconds)."""

    own: str
    since: float
    _heard: dict[str, tuple[int, float]] = field(default_factory=dict)

    def heard(self, node: str, count: int, now: float) -> None:
        """A heartbeat has come; one that was sent before the last is a copy."""
        if self._heard.get(node, (-1, 0.0))[0] < count:
            self._heard[node] = (count, now)

    def alive(self, now: float) -> frozenset[str]:
        """Those heard of lately, and this one itself; nobody before all others could have been heard of."""
        if now < self.since + LIFE_S:
            return frozenset()
        return frozenset({self.own, *(node for node, (_, at) in self._heard.items() if now < at + LIFE_S)})
