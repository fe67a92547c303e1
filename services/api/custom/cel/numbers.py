"""quantity and semver: amounts of resources and versions of software, made comparable."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cmp_to_key
from typing import Any, Final

from navarch.services.api.custom.cel.types import QUANTITY, SEMVER, T, can, declare
from navarch.services.api.quantity import Quantity

_SEMVER: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)
INT_MAX: Final = 2**63


def parse_quantity(text: str) -> Any:
    """A quantity, its amount as the text, so that equal amounts are equal. Raises ValueError."""
    return _quantity(Fraction(Quantity.parse(text).nanos, 10**9))


def _quantity(amount: Fraction) -> Any:
    return QUANTITY.make(f"{amount.numerator}/{amount.denominator}")


def _value(quantity: Any) -> Fraction:
    return Fraction(quantity.text)


def _added(left: Any, right: Any) -> Any:
    return _quantity(_value(left) + (right if isinstance(right, int) else _value(right)))


def _subtracted(left: Any, right: Any) -> Any:
    return _quantity(_value(left) - (right if isinstance(right, int) else _value(right)))


def _as_integer(quantity: Any) -> int:
    amount = _value(quantity)
    if not _is_integer(quantity):
        raise ValueError("cannot convert value to integer")
    return int(amount)


def _is_integer(quantity: Any) -> bool:
    amount = _value(quantity)
    return amount.denominator == 1 and -INT_MAX <= amount < INT_MAX


def _sign(number: Fraction | int) -> int:
    return (number > 0) - (number < 0)


def _compare_quantities(left: Any, right: Any) -> int:
    return _sign(_value(left) - _value(right))


def parse_semver(text: str, normalize: bool = False) -> Any:
    """A version. normalize: leave out a leading "v", fill in what is missing. Raises ValueError."""
    if normalize:
        core, mark, rest = re.match(r"v?([^-+]*)([-+]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        numbers = [part.lstrip("0") or ("0" if part else "") for part in core.split(".")]
        text = ".".join(numbers + ["0"] * (3 - len(numbers))) + mark + rest
    if not _SEMVER.fullmatch(text):
        raise ValueError(f"invalid semantic version {text!r}")
    return SEMVER.make(text)


def _parts(version: Any) -> tuple[list[int], list[str]]:
    match = _SEMVER.fullmatch(version.text)
    if match is None:
        raise ValueError(f"invalid semantic version {version.text!r}")
    return [int(match[index]) for index in (1, 2, 3)], (match[4] or "").split(".") if match[4] else []


def _compare_identifiers(left: str, right: str) -> int:
    if left.isdigit() and right.isdigit():
        return _sign(int(left) - int(right))
    if left.isdigit() != right.isdigit():
        return -1 if left.isdigit() else 1
    return (left > right) - (left < right)


def _compare_versions(left: Any, right: Any) -> int:
    (numbers, pre), (other_numbers, other_pre) = _parts(left), _parts(right)
    if numbers != other_numbers:
        return 1 if numbers > other_numbers else -1
    if not pre or not other_pre:
        return bool(other_pre) - bool(pre)
    key = cmp_to_key(_compare_identifiers)
    mine, theirs = list(map(key, pre)), list(map(key, other_pre))
    return (mine > theirs) - (mine < theirs)


def functions() -> list[Any]:
    """The declarations."""
    q, v = QUANTITY.type, SEMVER.type
    return declare(
        [
            ("quantity", q, (T.STRING,), parse_quantity),
            ("isQuantity", T.BOOL, (T.STRING,), can(parse_quantity)),
            ("semver", v, (T.STRING,), parse_semver),
            ("semver", v, (T.STRING, T.BOOL), parse_semver),
            ("isSemver", T.BOOL, (T.STRING,), can(parse_semver)),
            ("isSemver", T.BOOL, (T.STRING, T.BOOL), can(parse_semver)),
        ],
        [
            ("sign", T.INT, (q,), lambda quantity: _sign(_value(quantity))),
            ("isInteger", T.BOOL, (q,), _is_integer),
            ("asInteger", T.INT, (q,), _as_integer),
            ("asApproximateFloat", T.DOUBLE, (q,), lambda quantity: float(_value(quantity))),
            ("add", q, (q, q), _added),
            ("add", q, (q, T.INT), _added),
            ("sub", q, (q, q), _subtracted),
            ("sub", q, (q, T.INT), _subtracted),
            ("compareTo", T.INT, (q, q), _compare_quantities),
            ("isGreaterThan", T.BOOL, (q, q), lambda left, right: _compare_quantities(left, right) > 0),
            ("isLessThan", T.BOOL, (q, q), lambda left, right: _compare_quantities(left, right) < 0),
            ("compareTo", T.INT, (v, v), _compare_versions),
            ("isGreaterThan", T.BOOL, (v, v), lambda left, right: _compare_versions(left, right) > 0),
            ("isLessThan", T.BOOL, (v, v), lambda left, right: _compare_versions(left, right) < 0),
            ("major", T.INT, (v,), lambda version: _parts(version)[0][0]),
            ("minor", T.INT, (v,), lambda version: _parts(version)[0][1]),
            ("patch", T.INT, (v,), lambda version: _parts(version)[0][2]),
        ],
    )
