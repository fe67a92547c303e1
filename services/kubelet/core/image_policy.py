"""Which images go when the disk is full or they are old: the least recently used first. Pure.

An image is used while a container or a volume has it. When the kubelet begins, images count as found long ago; the
age for being unused counts from what it has seen itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """Percent of the disk above which images go, and down to which; ages in seconds, 0 for no highest age."""

    high_percent: int = 85
    low_percent: int = 80
    minimum_age_s: float = 120.0
    maximum_age_s: float = 0.0

    def __post_init__(self) -> None:
        for name, percent in (("HighThresholdPercent", self.high_percent), ("LowThresholdPercent", self.low_percent)):
            if not 0 <= percent <= 100:
                raise ThresholdError(f"invalid {name} {percent}, must be in range [0-100]")
        if self.low_percent >= self.high_percent:
            raise ThresholdError(
                f"LowThresholdPercent {self.low_percent} can not be higher than or equal to "
                f"HighThresholdPercent {self.high_percent}"
            )

    def to_free(self, capacity: int, available: int) -> int:
        """How many bytes are to be freed; 0 while the disk is not full enough."""
        available = min(available, capacity)
        if 100 - available * 100 // capacity < self.high_percent:
            return 0
        return capacity * (100 - self.low_percent) // 100 - available


@dataclass(slots=True)
class _Record:
    size: int
    found_at: float
    used_at: float = 0.0
    pinned: bool = False


class ImageRecords:
    """When each image of a node was found and last used."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._first = True

    def look(self, images: Sequence[criv1.Image], in_use: Iterable[str], now: float) -> None:
        """Take in the images that there are, and the ids and names of those that something uses."""
        used = set(in_use)
        for image in images:
            record = self._records.setdefault(image.id, _Record(image.size, 0.0 if self._first else now))
            record.size, record.pinned = image.size, image.pinned
            if used & {image.id, *image.repo_tags, *image.repo_digests}:
                record.used_at = now
        for gone in self._records.keys() - {image.id for image in images}:
            del self._records[gone]
        self._first = False

    def used_at(self, id_: str) -> float:
        """When an image was last seen in use; 0 for never."""
        record = self._records.get(id_)
        return record.used_at if record is not None else 0.0

    def unused(self, now: float, minimum_age_s: float) -> list[tuple[str, int]]:
        """Ids and sizes of what may go, in that order: not in use at the look of `now`, and old enough."""
        candidates = [
            (record.used_at, record.found_at, id_, record.size)
            for id_, record in self._records.items()
            if not record.pinned and record.used_at < now and now - record.found_at >= minimum_age_s
        ]
        return [(id_, size) for _, _, id_, size in sorted(candidates)]

    def unused_for(self, now: float, age_s: float, kubelet_started_at: float) -> list[str]:
        """Ids of what nobody has used for longer than this, counted from the start of the kubelet at the earliest."""
        return [
            id_
            for id_, record in self._records.items()
            if not record.pinned
            and record.used_at < now
            and now - max(record.used_at, record.found_at, kubelet_started_at) > age_s
        ]
