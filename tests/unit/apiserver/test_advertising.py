"""What becomes of the endpoints of the service `kubernetes`."""

from typing import Any

import pytest

from navarch.services.apiserver.advertising import bring, endpoints_of, same_family, slice_of


@pytest.mark.parametrize(
    ("found", "own", "expected"),
    [
        (["192.0.2.10", "192.0.2.9"], "192.0.2.9", ["192.0.2.9", "192.0.2.10"]),
        (["192.0.2.9", "2001:db8::9"], "2001:db8::1", ["2001:db8::9"]),
        (["nonsense", "192.0.2.9"], "192.0.2.9", ["192.0.2.9"]),
        ([], "192.0.2.9", []),
    ],
)
def test_who_is_alive(found: list[str], own: str, expected: list[str]) -> None:
    assert same_family(found, own) == expected


@pytest.mark.parametrize("make", [endpoints_of, slice_of])
@pytest.mark.parametrize(("port", "expected"), [(None, 6443), (7000, 7000)])
def test_ports_stay_unless_they_are_to_change(make: Any, port: int | None, expected: int) -> None:
    obj = make(["192.0.2.1"], 6443)
    bring(obj, make(["192.0.2.1", "192.0.2.2"], 7000), port)
    assert obj == make(["192.0.2.1", "192.0.2.2"], expected)


@pytest.mark.parametrize("make", [endpoints_of, slice_of])
def test_what_was_emptied_is_filled_again(make: Any) -> None:
    obj, wanted = make(["192.0.2.1"], 6443), make(["192.0.2.2"], 7000)
    for field in ("subsets", "endpoints", "ports"):
        if field in obj.DESCRIPTOR.fields_by_name:
            obj.ClearField(field)
    bring(obj, wanted, None)
    assert obj == wanted


def test_the_family_of_a_slice() -> None:
    assert slice_of(["2001:db8::1"], 6443).address_type == "IPv6"
