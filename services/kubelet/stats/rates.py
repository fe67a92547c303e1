"""How fast counters of CPU time grow: over the last ten seconds or so, whoever asks and however often. Pure."""

from dataclasses import dataclass

PERIOD_S = 10.0
# The difference of two readings that are nearer says more about their timing than about the load.
SHORTEST_S = 1.0


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    cpu_ns: int


class Rates:
    """By name of what is counted. Times are monotonic seconds."""

    def __init__(self) -> None:
        # The last two readings that are a period apart.
        self._readings: dict[str, tuple[_Reading, ...]] = {}

    def nano_cores(self, name: str, at: float, cpu_ns: int) -> int | None:
        """Take in a reading. Returns nanoseconds of CPU a second; None while that is not known."""
        now = _Reading(at, cpu_ns)
        known = self._readings.get(name, ())
        if known and cpu_ns < known[-1].cpu_ns:
            # Counted anew: it is another one of the same name.
            known = ()
        if not known or at - known[-1].at >= PERIOD_S:
            self._readings[name] = (*known[-1:], now)
        base = next((one for one in reversed(known) if at - one.at >= SHORTEST_S), None)
        return int((cpu_ns - base.cpu_ns) / (at - base.at)) if base is not None else None

    def forget(self, before: float) -> None:
        """Forget what was read last before that moment."""
        for name in [name for name, known in self._readings.items() if known[-1].at < before]:
            del self._readings[name]
