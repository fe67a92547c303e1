"""A simulated disk under a member: the frames that survive, and the state machine as last saved. No I/O.

It stands in for a SegmentWriter. An append is durable when it returns; when it is called is up to the simulation, and a
crash before that leaves the frame or not (a torn one is cut by recovery, which tests of the segments show).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from navarch.services.store.replication.segments import Segment
from navarch.testing.raft_machine import Machine

_FRAMES_PER_SEGMENT = 4


@dataclass(slots=True)
class _File:
    segment: Segment
    frames: list[bytes] = field(default_factory=list)


class SimulatedDisk:
    """What a member finds again after a crash.

    saved: the state machine. from_snapshot: the saved machine came from another member, and the journal need not know
    yet. fails: the next append fails.
    """

    def __init__(self, saved: Machine) -> None:
        self.saved = saved
        self.from_snapshot = False
        self.fails = False
        self._files: list[_File] = []
        self._count = 0

    def save(self, machine: Machine, *, from_snapshot: bool = False) -> None:
        """Keep the state machine, in one transaction."""
        self.saved = machine.copy()
        self.from_snapshot = from_snapshot

    def open(self, visit: Callable[[Segment, bytes], None]) -> None:
        """See SegmentWriter."""
        for file in self._files:
            file.segment.last_index = 0
            for frame in file.frames:
                visit(file.segment, frame)

    @property
    def segments(self) -> list[Segment]:
        """See SegmentWriter."""
        return [file.segment for file in self._files]

    @property
    def needs_segment(self) -> bool:
        """See SegmentWriter."""
        return not self._files or len(self._files[-1].frames) >= _FRAMES_PER_SEGMENT

    def append(self, payload: bytes, last_index: int) -> None:
        """See SegmentWriter."""
        if self.fails:
            self.fails = False
            raise OSError("the disk says no")
        if self.needs_segment:
            self._count += 1
            self._files.append(_File(Segment(self._count, Path(str(self._count)))))
        file = self._files[-1]
        file.frames.append(payload)
        file.segment.last_index = max(file.segment.last_index, last_index)

    def drop_before(self, index: int) -> None:
        """See SegmentWriter."""
        while len(self._files) > 1 and self._files[0].segment.last_index < index:
            self._files.pop(0)

    def close(self) -> None:
        """See SegmentWriter."""
