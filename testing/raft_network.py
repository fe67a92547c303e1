"""A simulated network between members of Raft: streams that delay, stall and break, but keep their order. No I/O.

For each pair and direction there is at most one stream. A cut direction stalls what is under way; it goes on when the
cut heals, unless the stream has broken meanwhile, which its sender learns. A new stream needs both directions.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from navarch.protos.navarch import store_pb2 as pb

Link = tuple[int, int]


@dataclass(slots=True)
class _Stream:
    """From one member to another. free_at: nothing arrives before what was sent earlier."""

    free_at: float = 0.0
    stalled: list[pb.RaftMessage] = field(default_factory=list)
    open: bool = True


class SimulatedNetwork:
    """All streams.

    at: calls back at a time. deliver: a message has arrived, (from, to, message). slow_s: extra delay of a direction.
    """

    def __init__(
        self,
        rng: random.Random,
        at: Callable[[float, Callable[[], None]], None],
        clock: Callable[[], float],
        deliver: Callable[[int, int, pb.RaftMessage], None],
    ) -> None:
        self._rng = rng
        self._at = at
        self._clock = clock
        self._deliver = deliver
        self._streams: dict[Link, _Stream] = {}
        self._lingering: list[_Stream] = []
        self.cut: set[Link] = set()
        self.slow_s: dict[Link, float] = {}

    def is_connected(self, link: Link) -> bool:
        """Whether there is a stream."""
        return link in self._streams

    def may_connect(self, link: Link) -> bool:
        """Whether a stream could be opened now."""
        return link not in self.cut and link[::-1] not in self.cut

    def connect(self, link: Link) -> None:
        """Open a stream."""
        self._streams[link] = _Stream()

    def break_(self, link: Link, *, lingers: bool = False) -> bool:
        """End a stream; returns whether there was one. What is under way is lost.

        lingers: unless it is at the receiver already, who has not read it yet, and may read it after what a new stream
        brings.
        """
        stream = self._streams.pop(link, None)
        if stream is not None:
            stream.open = lingers
            self._lingering.append(stream)
        return stream is not None

    def end_lingering(self) -> None:
        """Somebody has crashed: nothing from earlier streams arrives any more."""
        for stream in self._lingering:
            stream.open = False
        self._lingering.clear()

    def send(self, link: Link, message: pb.RaftMessage) -> None:
        """Send, or lose when there is no stream."""
        stream = self._streams.get(link)
        if stream is None:
            return
        delay_s = self._rng.uniform(0.0005, 0.004) + self.slow_s.get(link, 0.0)
        self._deliver_later(link, stream, message, delay_s)

    def _arrive(self, link: Link, stream: _Stream, message: pb.RaftMessage) -> None:
        if not stream.open:
            return
        if link in self.cut or stream.stalled:
            stream.stalled.append(message)
        else:
            self._deliver(*link, message)

    def heal(self) -> None:
        """End all cuts and slowness; what was stalled arrives."""
        self.slow_s.clear()
        self.mend(set(self.cut))

    def mend(self, links: set[Link]) -> None:
        """End some cuts; what was stalled there arrives, in its order."""
        self.cut -= links
        for link in sorted(links & self._streams.keys()):
            stream = self._streams[link]
            stalled, stream.stalled = stream.stalled, []
            for message in stalled:
                self._deliver_later(link, stream, message)

    def _deliver_later(self, link: Link, stream: _Stream, message: pb.RaftMessage, delay_s: float = 0.0) -> None:
        stream.free_at = max(stream.free_at, self._clock() + delay_s)
        self._at(stream.free_at, lambda: self._arrive(link, stream, message))
