"""What came back, counted; and what must not have."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field

MAX_FINDINGS = 40
SHOWN = 600


@dataclass
class Tally:
    """The books of one phase."""

    phase: str
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    # What was answered with 503 or 504, and why: allowed where something else is at fault.
    unavailable: dict[str, bytes] = field(default_factory=dict)

    def count(self, what: object) -> None:
        """Something came back."""
        self.counts[str(what)] += 1

    def find(self, what: str, *cause: object) -> None:
        """Something came back that must not."""
        if len(self.findings) < MAX_FINDINGS:
            shown = " | ".join(each if isinstance(each, str) else repr(each) for each in cause)
            self.findings.append(f"{self.phase}: {what}: {shown[:SHOWN]}")

    def __str__(self) -> str:
        total = sum(self.counts.values())
        return f"{self.phase}: {total} ({', '.join(f'{what}: {count}' for what, count in self.counts.most_common())})"


@dataclass(frozen=True)
class Turn:
    """What a phase works with. end: when to stop, on the monotonic clock."""

    rng: random.Random
    end: float
    tally: Tally

    def goes_on(self) -> bool:
        """Whether there is time for more."""
        return time.monotonic() < self.end
