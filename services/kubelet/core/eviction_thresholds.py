"""How low a signal may fall before Pods are evicted: what the options say, read and checked.

--eviction-hard=memory.available<100Mi,nodefs.available<10%      at once, with one second of grace
--eviction-soft=memory.available<500Mi                           once it has been so for the signal's grace period
--eviction-soft-grace-period=memory.available=1m30s
--eviction-minimum-reclaim=nodefs.available=500Mi                so much more must be free before it is over
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from navarch.services.api.quantity import Quantity, QuantityError
from navarch.services.kubelet.core.eviction_signals import Signal

DEFAULT_HARD = (
    "imagefs.available<15%,imagefs.inodesFree<5%,memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%"
)
UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


class ThresholdError(ValueError):
    """An option says something that makes no sense."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Units, or a share of the capacity."""

    units: int = 0
    share: float | None = None

    def of(self, capacity: int) -> int:
        """In units."""
        return self.units if self.share is None else int(capacity * self.share)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Less than `amount` left is too little; without a grace period it is a hard one."""

    signal: Signal
    amount: Amount
    grace_s: float = 0.0
    minimum_reclaim: Amount | None = None

    @property
    def hard(self) -> bool:
        """Whether Pods are evicted as soon as it is crossed."""
        return not self.grace_s


def duration_s(text: str) -> float:
    """Read a duration: "90s", "1m30s", "0". Raises ThresholdError."""
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ThresholdError(f'invalid duration "{text}"')
    return sum(float(part[1]) * UNITS_S[part[2]] for part in parts)


def thresholds(
    hard: str = DEFAULT_HARD,
    soft: str = "",
    grace_periods: str = "",
    minimum_reclaims: str = "",
    *,
    allocatable: bool = True,
) -> tuple[Threshold, ...]:
    """All thresholds of a node. allocatable: Pods are held to it together. Raises ThresholdError."""
    found = [Threshold(signal, amount) for signal, amount in _statements(hard)]
    periods = {_signal(name): _grace_s(text) for name, text in _pairs(grace_periods, "=")}
    for signal, amount in _statements(soft):
        if signal not in periods:
            raise ThresholdError(f"grace period must be specified for the soft eviction threshold {signal}")
        found.append(Threshold(signal, amount, periods[signal]))
    reclaims = {_signal(name): _reclaim(name, text) for name, text in _pairs(minimum_reclaims, "=")}
    found = [replace(one, minimum_reclaim=reclaims.get(one.signal)) for one in found]
    if not allocatable:
        return tuple(found)
    # What Pods may use together is guarded by the same amount as the memory of the whole node.
    pods = [replace(one, signal=Signal.ALLOCATABLE_MEMORY) for one in found if one.signal is Signal.MEMORY and one.hard]
    return tuple(found + pods)


def hard_amount(every: Iterable[Threshold], signal: Signal, capacity: int) -> int:
    """How much of a capacity the hard threshold of a signal keeps from Pods."""
    return sum(one.amount.of(capacity) for one in every if one.signal is signal and one.hard)


def _pairs(text: str, sign: str) -> list[tuple[str, str]]:
    pairs = []
    for statement in filter(None, text.split(",")):
        name, found, value = statement.partition(sign)
        if not found or not value:
            raise ThresholdError(f"invalid eviction threshold syntax {statement}, expected <signal>{sign}<value>")
        pairs.append((name.strip(), value.strip()))
    return pairs


def _statements(text: str) -> list[tuple[Signal, Amount]]:
    found: dict[Signal, Amount | None] = {}
    for name, value in _pairs(text, "<"):
        signal = _signal(name)
        if signal in found:
            raise ThresholdError(f"duplicate eviction threshold {signal}")
        found[signal] = _amount(signal, value)
    return [(signal, amount) for signal, amount in found.items() if amount is not None]


def _signal(name: str) -> Signal:
    try:
        return Signal(name)
    except ValueError:
        raise ThresholdError(f"unsupported eviction signal {name}") from None


def _amount(signal: Signal, text: str) -> Amount | None:
    """None for a threshold that is switched off: 0% or 100%."""
    if text in ("0%", "100%"):
        return None
    if text.endswith("%"):
        share = _share(text)
        if share < 0:
            raise ThresholdError(f"eviction percentage threshold {signal} must be >= 0%: {text}")
        if share > 1:
            raise ThresholdError(f"eviction percentage threshold {signal} must be <= 100%: {text}")
        return Amount(share=share)
    units = _units(text)
    if units <= 0:
        raise ThresholdError(f"eviction threshold {signal} must be positive: {text}")
    return Amount(units)


def _reclaim(signal: str, text: str) -> Amount:
    if text.endswith("%"):
        share = _share(text)
        if share <= 0:
            raise ThresholdError(f"eviction percentage minimum reclaim {signal} must be positive: {text}")
        return Amount(share=share)
    units = _units(text)
    if units < 0:
        raise ThresholdError(f"negative eviction minimum reclaim specified for {signal}")
    return Amount(units)


def _share(text: str) -> float:
    try:
        return float(text.rstrip("%")) / 100
    except ValueError:
        raise ThresholdError(f'invalid percentage "{text}"') from None


def _units(text: str) -> int:
    try:
        return Quantity.parse(text).value()
    except QuantityError as failure:
        raise ThresholdError(f'invalid quantity "{text}": {failure}') from None


def _grace_s(text: str) -> float:
    if text.startswith("-"):
        raise ThresholdError(f"invalid eviction grace period specified: {text}, must be a positive value")
    return duration_s(text)
