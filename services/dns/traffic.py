"""What is counted of the queries: plain numbers, since a counter with locks would cost as much as an answer. Pure."""

from bisect import bisect_left
from collections import Counter

from navarch.services.dns.records import rcode_name, type_name

# From 16 microseconds, an answer that is remembered, to 8 s, longer than any client waits.
BUCKETS_S = (0.000016, 0.000064, 0.00025, 0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 2.0, 4.0, 8.0)

# Type and response code.
Label = tuple[int, int]


class Traffic:
    """Counts of one server. dropped: datagrams that got no response."""

    def __init__(self) -> None:
        self._udp: Counter[Label] = Counter()
        self._tcp: Counter[Label] = Counter()
        self.dropped = 0
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0

    def count(self, udp: bool, label: Label) -> None:
        """One more response."""
        counts = self._udp if udp else self._tcp
        counts[label] = counts.get(label, 0) + 1

    def took(self, seconds: float, responses: int = 1) -> None:
        """So many responses took so long each."""
        self.buckets[bisect_left(BUCKETS_S, seconds)] += responses
        self.seconds += seconds * responses

    def rows(self) -> list[tuple[tuple[str, str, str], int]]:
        """Counts by (protocol, type, response code). Types without a name count together: anybody can make them up."""
        found: Counter[tuple[str, str, str]] = Counter()
        for protocol, counts in (("udp", self._udp), ("tcp", self._tcp)):
            for (number, rcode), count in counts.items():
                name = type_name(number)
                found[protocol, "other" if name.startswith("TYPE") else name, rcode_name(rcode)] += count
        return sorted(found.items())

    def __len__(self) -> int:
        return self._udp.total() + self._tcp.total()
