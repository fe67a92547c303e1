"""Exponential backoff per key, as the kubelet does it for crashing containers and failing pulls.

The first failure is retried at once; after that each retry waits twice as long as the one before. A key that
has been quiet for twice the longest delay starts afresh.
"""

from dataclasses import dataclass

INITIAL_S = 10.0
LONGEST_S = 300.0


@dataclass(slots=True)
class _Entry:
    delay_s: float
    updated_at: float


class Backoff:
    """Delays by key. All times are Unix seconds."""

    def __init__(self, initial_s: float = INITIAL_S, longest_s: float = LONGEST_S) -> None:
        self._initial_s = initial_s
        self._longest_s = longest_s
        self._entries: dict[str, _Entry] = {}

    def due(self, key: str, failed_at: float) -> float:
        """The moment from which the failure at `failed_at` may be retried."""
        entry = self._entries.get(key)
        if entry is None or self._stale(entry, failed_at):
            return failed_at
        return failed_at + entry.delay_s

    def delay_s(self, key: str) -> float:
        """The delay that holds now; 0 without one."""
        entry = self._entries.get(key)
        return entry.delay_s if entry else 0.0

    def retried(self, key: str, failed_at: float, now: float) -> None:
        """The failure at `failed_at` is being retried: the next one waits longer."""
        entry = self._entries.get(key)
        if entry is None or self._stale(entry, failed_at):
            self._entries[key] = _Entry(self._initial_s, now)
        else:
            entry.delay_s = min(entry.delay_s * 2, self._longest_s)
            entry.updated_at = now

    def reset(self, key: str) -> None:
        """It works again."""
        self._entries.pop(key, None)

    def _stale(self, entry: _Entry, failed_at: float) -> bool:
        return failed_at - entry.updated_at > 2 * self._longest_s
