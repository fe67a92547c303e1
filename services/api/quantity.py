"""Exact resource quantities: "100m", "1.5", "2Gi", "1e3".

A quantity is a whole number of nano units, so sums and comparisons are exact; finer input is rounded away
from zero to a nano and input beyond 2**63-1 is capped there, as Kubernetes does. ``str`` gives the canonical
form: no fraction, the largest suffix that leaves a whole number, in the family (decimal, binary, exponent)
the quantity was written in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Context, Decimal
from enum import Enum
from functools import lru_cache, total_ordering
from typing import Final

from navarch.protos.k8s import quantity_pb2

_NANO: Final = 10**9
_MAX: Final = (2**63 - 1) * _NANO
_LENGTH_LIMIT: Final = 512
# A number that far out is the cap, or one nano, whatever its digits say.
_EXPONENT_LIMIT: Final = 2 * _LENGTH_LIMIT

_PATTERN: Final = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,18}|[KMGTPE]i|[numkMGTPE]?)", re.ASCII)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_EXACT: Final = Context(prec=2000, Emax=10**6, Emin=-(10**6))


class QuantityError(ValueError):
    """The text is not a quantity."""


class Format(Enum):
    """The family of suffixes a quantity is written in."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount. Compares and hashes by amount; the format only matters for printing."""

    nanos: int
    format: Format = field(default=Format.DECIMAL_SI)

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """Read a quantity. Raises QuantityError."""
        return _parse(text)

    @classmethod
    def of(cls, amount: int | Decimal | str | quantity_pb2.Quantity) -> Quantity:
        """A quantity from a number, a text or a message; an empty message is zero."""
        if isinstance(amount, quantity_pb2.Quantity):
            return _parse(amount.string or "0")
        if isinstance(amount, int):
            return cls(amount * _NANO)
        return _parse(str(amount))

    def message(self) -> quantity_pb2.Quantity:
        """The protobuf form."""
        return quantity_pb2.Quantity(string=str(self))

    def value(self) -> int:
        """Whole units, rounded up."""
        return -(-self.nanos // _NANO)

    def milli_value(self) -> int:
        """Thousandths, rounded up."""
        return self.rounded_up(-3)

    def rounded_up(self, scale: int) -> int:
        """In units of 10**scale (scale from -9 to 18), rounded up."""
        unit: int = 10 ** (scale + 9)
        return -(-self.nanos // unit)

    def decimal(self) -> Decimal:
        """The exact amount."""
        return Decimal(self.nanos).scaleb(-9, _EXACT)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __eq__(self, other: object) -> bool:
        return self.nanos == other.nanos if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __str__(self) -> str:
        if not self.nanos:
            return "0"
        whole, fraction = divmod(abs(self.nanos), _NANO)
        # Binary suffixes cannot write fractions: small amounts become decimal, large ones are rounded up.
        if self.format is Format.BINARY_SI and whole >= 1024:
            number, power = _strip(whole + bool(fraction), 1024, len(_BINARY) - 1)
            suffix = _BINARY[power]
        else:
            number, thousands = _strip(abs(self.nanos), 1000, 9)
            suffix = self._decimal_suffix(thousands * 3 - 9)
        return f"{'-' if self.nanos < 0 else ''}{number}{suffix}"

    def _decimal_suffix(self, power: int) -> str:
        if self.format is Format.DECIMAL_EXPONENT:
            return f"e{power}" if power else ""
        return _DECIMAL_SUFFIX[power]


def _strip(number: int, base: int, limit: int) -> tuple[int, int]:
    """(mantissa, power) with number == mantissa * base**power, power as large as it can be."""
    power = 0
    while power < limit and number % base == 0:
        number //= base
        power += 1
    return number, power


@lru_cache(maxsize=2048)
def _parse(text: str) -> Quantity:
    match = _PATTERN.fullmatch(text) if len(text) <= _LENGTH_LIMIT else None
    if match is None:
        raise QuantityError(f"{text[:64]!r} is not a quantity such as 100m, 1.5 or 2Gi")
    sign, digits, suffix = match.groups()
    number = Decimal(digits, _EXACT)
    format = Format.DECIMAL_SI
    if suffix.endswith("i"):
        format = Format.BINARY_SI
        number = _EXACT.multiply(number, Decimal(1024 ** _BINARY.index(suffix)))
    elif len(suffix) > 1:
        format = Format.DECIMAL_EXPONENT
        exponent = max(-_EXPONENT_LIMIT, min(_EXPONENT_LIMIT, int(suffix[1:])))
        number = number.scaleb(exponent, _EXACT)
    else:
        number = number.scaleb(_DECIMAL[suffix], _EXACT)
    if format is Format.BINARY_SI and 0 < number < 1:
        format = Format.DECIMAL_SI
    nanos = min(_up(number.scaleb(9, _EXACT)), _MAX)
    return Quantity(-nanos if sign == "-" else nanos, format)


def _up(number: Decimal) -> int:
    whole = int(number)
    return whole if whole == number else whole + 1


def cpu_millicores(quantity: quantity_pb2.Quantity | str) -> int:
    """A CPU amount in thousandths of a core, rounded up."""
    return _parse((quantity if isinstance(quantity, str) else quantity.string) or "0").milli_value()


def memory_bytes(quantity: quantity_pb2.Quantity | str) -> int:
    """A memory or storage amount in bytes, rounded up."""
    return _parse((quantity if isinstance(quantity, str) else quantity.string) or "0").value()
