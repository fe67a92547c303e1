"""The arguments of an API server."""

import argparse

import pytest

from navarch.services.apiserver.main import service_cidrs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.96.0.0/16", ("10.96.0.0/16",)),
        ("10.96.0.0/16,fd00:96::/108", ("10.96.0.0/16", "fd00:96::/108")),
        ("fd00:96::/108,10.96.0.0/16", ("fd00:96::/108", "10.96.0.0/16")),
    ],
)
def test_ranges_of_services(text: str, expected: tuple[str, ...]) -> None:
    assert service_cidrs(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not appear to be"),
        ("10.96.0.1/16", "host bits"),
        ("10.96.0.0/16,10.97.0.0/16", "one of IPv4 and one of IPv6"),
        ("10.96.0.0/16,fd00::/108,fd01::/108", "one of IPv4 and one of IPv6"),
    ],
)
def test_what_is_no_range_of_services(text: str, problem: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=problem):
        service_cidrs(text)
