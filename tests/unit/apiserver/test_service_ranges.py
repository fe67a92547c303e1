"""Ranges of cluster IPs: what is given, and in which order."""

import itertools
import random

import pytest

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.apiserver.allocation.ranges import open_ranges, ranges_of


@pytest.mark.parametrize(
    ("block", "band"),
    [
        ("10.0.0.0/30", 0),
        ("10.0.0.0/28", 0),
        ("10.0.0.0/27", 16),
        ("10.0.0.0/24", 16),
        ("10.0.0.0/23", 32),
        ("10.0.0.0/20", 256),
        ("10.0.0.0/16", 256),
        ("fd00::/64", 256),
    ],
)
def test_the_band_for_those_who_name_an_address(block: str, band: int) -> None:
    (found,) = ranges_of([block])
    assert found.band == band


@pytest.mark.parametrize("block", ["10.0.0.0/30", "10.0.0.0/28", "10.0.0.0/26", "fd00::/121"])
def test_all_that_is_given_is_tried_and_nothing_else(block: str) -> None:
    (found,) = ranges_of([block])
    tried = list(found.candidates(random.Random(1)))
    every = {str(address) for address in found.network if found.gives(str(address))}
    assert set(tried) == every
    assert len(every) == found.network.num_addresses - (2 if found.family == "IPv4" else 1)
    # Nothing of the band before all that lies above it.
    band = {str(found.network[offset]) for offset in range(found.band)}
    above = tried[: next((index for index, one in enumerate(tried) if one in band), len(tried))]
    assert set(above) == every - band


def test_a_huge_range_is_begun_at_once() -> None:
    (found,) = ranges_of(["fd00::/64"])
    picks = list(itertools.islice(found.candidates(random.Random(1)), 40))
    assert all(map(found.gives, picks))
    assert not found.gives("fd00::")
    assert not found.gives("fd01::1")


def cidr(name: str, *blocks: str, ready: str = "", deleted: bool = False) -> networkingv1.ServiceCIDR:
    made = networkingv1.ServiceCIDR()
    made.metadata.name, made.spec.cidrs[:] = name, blocks
    if ready:
        made.status.conditions.add(type="Ready", status=ready)
    if deleted:
        made.metadata.deletion_timestamp.seconds = 1
    return made


def test_open_ranges() -> None:
    found = [
        cidr("z", "10.9.0.0/24"),
        cidr("kubernetes", "10.0.0.0/24", ready="True"),
        cidr("b", "10.1.0.0/24", "fd00::/120", ready="True"),
        cidr("closed", "10.2.0.0/24", ready="False"),
        cidr("going", "10.3.0.0/24", ready="True", deleted=True),
    ]
    opened = open_ranges(ranges_of(["10.0.0.0/24"]), found)
    assert [str(one.network) for one in opened] == ["10.0.0.0/24", "10.1.0.0/24", "fd00::/120", "10.9.0.0/24"]
