"""Where the state machine keeps what it must not lose: records by revision, and small named values.

A backend groups everything written between two moments into one durable step, so the applied index written
among the names is exactly as new as the records beside it.
"""

from collections.abc import Iterator
from typing import Protocol

from sortedcontainers import SortedDict


class Backend(Protocol):
    """Records by packed revision, plus named values. Calls come from one thread and do not wait for disks."""

    def get(self, packed: int) -> bytes:
        """The record of a revision. Raises CorruptionError when it is missing or damaged."""
        ...

    def put(self, packed: int, record: bytes) -> None:
        """Keep a record; revisions only grow."""
        ...

    def delete(self, packed: int) -> None:
        """Forget a record."""
        ...

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Records with first <= revision <= last, in order. Not to be continued after a write."""
        ...

    def get_value(self, name: bytes) -> bytes | None:
        """A named value."""
        ...

    def put_value(self, name: bytes, value: bytes) -> None:
        """Set a named value."""
        ...

    def delete_value(self, name: bytes) -> None:
        """Remove a named value, if it is there."""
        ...

    def values(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """The named values whose name starts with prefix, in order."""
        ...

    def size_bytes(self) -> int:
        """Space taken on disk, counted against the quota."""
        ...

    def size_in_use_bytes(self) -> int:
        """Space holding data."""
        ...


class MemoryBackend:
    """A backend for tests and fixtures; gone with the process."""

    def __init__(self) -> None:
        self._records: SortedDict[int, bytes] = SortedDict()
        self._values: dict[bytes, bytes] = {}
        self._bytes = 0

    def get(self, packed: int) -> bytes:
        """See Backend."""
        record: bytes = self._records[packed]
        return record

    def put(self, packed: int, record: bytes) -> None:
        """See Backend."""
        self._records[packed] = record
        self._bytes += len(record)

    def delete(self, packed: int) -> None:
        """See Backend."""
        self._bytes -= len(self._records.pop(packed, b""))

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """See Backend."""
        for packed in self._records.irange(first, last):
            yield packed, self._records[packed]

    def get_value(self, name: bytes) -> bytes | None:
        """See Backend."""
        return self._values.get(name)

    def put_value(self, name: bytes, value: bytes) -> None:
        """See Backend."""
        self._values[name] = value

    def delete_value(self, name: bytes) -> None:
        """See Backend."""
        self._values.pop(name, None)

    def values(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """See Backend."""
        return sorted((name, value) for name, value in self._values.items() if name.startswith(prefix))

    def size_bytes(self) -> int:
        """See Backend."""
        return self._bytes

    def size_in_use_bytes(self) -> int:
        """See Backend."""
        return self._bytes
