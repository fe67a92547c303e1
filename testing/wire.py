"""A network switch in user space, with the faults of real ones: `python -m navarch.testing.wire FD FD ...`

Each argument is a TAP device, a port. A frame goes to the port that the last byte of its destination names, or to all
when it is a broadcast. Lines of JSON on standard input replace the rules; the process ends with its input. It is a
process of its own, so that a busy test does not slow the network down.
"""

import heapq
import itertools
import json
import os
import random
import selectors
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

_FRAME_BYTES = 65536
_BURST = 32


@dataclass
class Rules:
    """What happens to frames. cut: (from, to) that do not pass. By port that sends: seconds late, share lost."""

    cut: set[tuple[int, int]] = field(default_factory=set)
    late_s: dict[int, float] = field(default_factory=dict)
    lost: dict[int, float] = field(default_factory=dict)
    seed: int = 0

    def to_line(self) -> bytes:
        """For the switch's input."""
        return json.dumps({**asdict(self), "cut": sorted(self.cut)}).encode() + b"\n"

    @staticmethod
    def of_line(line: bytes) -> "Rules":
        """Of its input."""
        words = json.loads(line)
        late_s, lost = ({int(port): value for port, value in words[name].items()} for name in ("late_s", "lost"))
        return Rules({(sender, to) for sender, to in words["cut"]}, late_s, lost, words["seed"])


class Switch:
    """Forwards until its input ends."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._rules = Rules()
        self._rng = random.Random(0)
        self._order = itertools.count()
        self._late: list[tuple[float, int, int, bytes]] = []
        self._selector = selectors.EpollSelector()
        for number, port in enumerate(ports):
            os.set_blocking(port, False)
            self._selector.register(port, selectors.EVENT_READ, number)
        self._selector.register(0, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Forward frames."""
        while True:
            timeout = max(0.0, self._late[0][0] - time.monotonic()) if self._late else None
            for key, _ in self._selector.select(timeout):
                if key.data is not None:
                    self._forward(key.data)
                elif line := os.read(0, _FRAME_BYTES):
                    self._rules = Rules.of_line(line.splitlines()[-1])
                    self._rng = random.Random(self._rules.seed)
                else:
                    return
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(self._late)
                self._write(to, frame)

    def _forward(self, sender: int) -> None:
        for _ in range(_BURST):
            try:
                frame = os.read(self._ports[sender], _FRAME_BYTES)
            except BlockingIOError:
                return
            to_all = frame[0] & 1
            for to in range(len(self._ports)) if to_all else (frame[5],):
                if to != sender and to < len(self._ports) and (sender, to) not in self._rules.cut:
                    self._pass(sender, to, frame)

    def _pass(self, sender: int, to: int, frame: bytes) -> None:
        lost = self._rules.lost.get(sender, 0.0)
        if lost and self._rng.random() < lost:
            return
        late_s = self._rules.late_s.get(sender, 0.0)
        if late_s:
            heapq.heappush(self._late, (time.monotonic() + late_s, next(self._order), to, frame))
        else:
            self._write(to, frame)

    def _write(self, to: int, frame: bytes) -> None:
        try:
            os.write(self._ports[to], frame)
        except OSError:
            # A full or closed device loses frames, as a real one does.
            return


if __name__ == "__main__":
    Switch([int(word) for word in sys.argv[1:]]).run()
