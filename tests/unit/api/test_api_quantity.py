"""Quantities: exact amounts, the canonical form, and texts that are none."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s import quantity_pb2
from navarch.services.api.quantity import Format, Quantity, QuantityError, cpu_millicores, memory_bytes

CANONICAL = {
    "0": "0",
    "0Ki": "0",
    "-0": "0",
    "0e5": "0",
    "1": "1",
    "+3": "3",
    "3.": "3",
    ".5": "500m",
    "007": "7",
    "1.5": "1500m",
    "100m": "100m",
    "1000m": "1",
    "1500m": "1500m",
    "-1.5": "-1500m",
    "1000": "1k",
    "1024": "1024",
    "123456789000": "123456789k",
    "1k": "1k",
    "1M": "1M",
    "5E": "5E",
    "100n": "100n",
    "1000n": "1u",
    "5u": "5u",
    "0.1n": "1n",
    "-0.1n": "-1n",
    "1.0000000001": "1000000001n",
    "1Ki": "1Ki",
    "1024Ki": "1Mi",
    "1025Ki": "1025Ki",
    "1024Mi": "1Gi",
    "1.5Gi": "1536Mi",
    "0.5Ki": "512",
    ".1Ki": "102400m",
    "1.1Ki": "1127",
    "0.0001Ki": "102400u",
    "7Ei": "7Ei",
    "-2048Ki": "-2Mi",
    "1e3": "1e3",
    "1E3": "1e3",
    "1e0": "1",
    "15e2": "1500",
    "12e-1": "1200e-3",
    "1.5e9": "1500e6",
    "1e-9": "1e-9",
    "1e-30": "1e-9",
    "1E": "1E",
    "8Ei": "9223372036854775807",
    "10E": "9223372036854775807",
    "-10E": "-9223372036854775807",
    "1e100": "9223372036854775807",
}


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_canonical_form(text: str, canonical: str) -> None:
    quantity = Quantity.parse(text)
    assert str(quantity) == canonical
    assert str(Quantity.parse(canonical)) == canonical


BAD = ["", " ", "x", "1x", "1 Gi", "Gi", ".", "+", "--1", "1.2.3", "1mm", "1Kii", "1ki", "1e", "1e1.5", "0x10", "1_0"]
BAD += ["NaN", "inf", "١", "1\n", "1e99999999999999999999", "9" * 1000, "1e5m"]


@pytest.mark.parametrize("text", BAD)
def test_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError):
        Quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "value", "milli"),
    [("1", 1, 1000), ("100m", 1, 100), ("1.5", 2, 1500), ("1n", 1, 1), ("-1.5", -1, -1500), ("1Ki", 1024, 1024000)],
)
def test_units_are_rounded_up(text: str, value: int, milli: int) -> None:
    quantity = Quantity.parse(text)
    assert (quantity.value(), quantity.milli_value()) == (value, milli)


def test_other_ways_in_and_out() -> None:
    assert Quantity.of(3) == Quantity.of("3") == Quantity.of(Decimal("3.0")) == Quantity.of(Quantity.of(3).message())
    assert Quantity.of(quantity_pb2.Quantity()) == Quantity.parse("0")
    assert Quantity.parse("1.25").decimal() == Decimal("1.25")
    assert cpu_millicores("250m") == 250
    assert cpu_millicores(quantity_pb2.Quantity()) == 0
    assert memory_bytes(quantity_pb2.Quantity(string="1Mi")) == 2**20


def test_arithmetic_keeps_the_format_of_what_is_not_zero() -> None:
    one = Quantity.parse("1Gi")
    assert str(one + one) == "2Gi"
    assert str(Quantity(0) + one) == "1Gi"
    assert str(one - Quantity.parse("512Mi")) == "512Mi"
    assert str(one * 3) == "3Gi"
    assert str(-one) == "-1Gi"
    assert Quantity.parse("1") < Quantity.parse("1001m")
    assert hash(Quantity.parse("1Ki")) == hash(Quantity.parse("1024"))
    assert not Quantity.parse("0")
    assert Quantity(1) != "1"


NUMBERS = st.decimals(min_value=-(10**12), max_value=10**12, places=6).map(lambda number: f"{number:f}")
SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "e3": 3, "E-2": -2}
BINARY = {"": 0, "Ki": 1, "Mi": 2}


@given(number=NUMBERS, suffix=st.sampled_from(sorted(SUFFIXES)))
def test_the_amount_is_the_written_number_rounded_away_from_zero_to_nanos(number: str, suffix: str) -> None:
    exact = Fraction(number) * Fraction(10) ** (SUFFIXES[suffix] + 9)
    whole = -(-abs(exact) // 1)
    assert Quantity.parse(number + suffix).nanos == (whole if exact >= 0 else -whole)


@given(nanos=st.integers(-(2**62) * 10**9, 2**62 * 10**9), exponent=st.booleans())
def test_decimal_text_is_exact(nanos: int, exponent: bool) -> None:
    quantity = Quantity(nanos, Format.DECIMAL_EXPONENT if exponent else Format.DECIMAL_SI)
    assert Quantity.parse(str(quantity)).nanos == nanos


@given(amount=st.integers(-(2**62), 2**62))
def test_binary_text_is_exact_for_whole_units(amount: int) -> None:
    quantity = Quantity(amount * 10**9, Format.BINARY_SI)
    assert Quantity.parse(str(quantity)) == quantity


@given(left=NUMBERS, right=NUMBERS)
def test_sums_and_order_are_those_of_the_numbers(left: str, right: str) -> None:
    a, b = Quantity.parse(left), Quantity.parse(right)
    assert (a + b).decimal() == Decimal(left) + Decimal(right)
    assert (a - b).decimal() == Decimal(left) - Decimal(right)
    assert (a < b) == (Decimal(left) < Decimal(right))


@given(text=st.text(max_size=12) | st.from_regex(r"[+-]?[0-9.]{0,6}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,3}", fullmatch=True))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        quantity = Quantity.parse(text)
    except QuantityError:
        return
    assert str(Quantity.parse(str(quantity))) == str(quantity)
