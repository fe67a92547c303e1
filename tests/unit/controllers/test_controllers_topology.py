"""topology-mode Auto: which endpoint is for which zone, and when none is."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager.endpointslice.topology import (
    CONTROL_PLANE,
    OVERLOAD,
    ZONE,
    NoHints,
    hints,
    is_asked,
    shares,
)


def a_node(zone: str, cpu: str = "4", *, ready: bool = True, label: str = "") -> corev1.Node:
    node = corev1.Node()
    if zone:
        node.metadata.labels[ZONE] = zone
    if label:
        node.metadata.labels[label] = ""
    if cpu:
        node.status.allocatable["cpu"].string = cpu
    node.status.conditions.add(type="Ready", status="True" if ready else "False")
    return node


def spread(**counts: int) -> dict[str, str]:
    """Endpoints by name, so many in each zone."""
    return {f"{zone}-{number}": zone for zone, count in counts.items() for number in range(count)}


def parts(**weights: int) -> dict[str, Fraction]:
    return {zone: Fraction(weight, sum(weights.values())) for zone, weight in weights.items()}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param([a_node("a"), a_node("b"), a_node("b", "8")], parts(a=4, b=12), id="by processors"),
        pytest.param([a_node("a", "500m"), a_node("b", "1500m")], parts(a=1, b=3), id="in thousandths"),
        pytest.param([a_node("a"), a_node("b", ready=False)], parts(a=1), id="ready ones"),
        pytest.param([a_node("a"), a_node("b", label=CONTROL_PLANE[0])], parts(a=1), id="not the control plane"),
        pytest.param([a_node("a"), a_node("")], {}, id="one has no zone"),
        pytest.param([a_node("a"), a_node("b", "")], {}, id="one does not say"),
        pytest.param([], {}, id="none"),
    ],
)
def test_shares(nodes: list[corev1.Node], expected: dict[str, Fraction]) -> None:
    assert shares(nodes) == expected


@pytest.mark.parametrize(
    ("zones", "share", "expected"),
    [
        pytest.param(spread(a=3, b=3), parts(a=1, b=1), {"a": 3, "b": 3}, id="as they are"),
        # The example of the KEP: a third each, where one zone has too many.
        pytest.param(spread(a=5, b=1, c=3), parts(a=1, b=1, c=1), {"a": 3, "b": 3, "c": 3}, id="one gives"),
        pytest.param(spread(a=6, b=5), parts(a=1, b=1), {"a": 6, "b": 5}, id="within the threshold"),
        pytest.param(spread(a=7, b=3), parts(a=1, b=1), {"a": 5, "b": 5}, id="beyond it"),
        pytest.param(spread(a=4), parts(a=1, b=1), {"a": 2, "b": 2}, id="all in one"),
        pytest.param(spread(a=3, b=3, gone=3), parts(a=1, b=1), {"a": 5, "b": 4}, id="a zone without nodes"),
    ],
)
def test_endpoints_for_zones(zones: dict[str, str], share: dict[str, Fraction], expected: dict[str, int]) -> None:
    assert Counter(hints(zones, share, {}).values()) == expected


@pytest.mark.parametrize(
    ("zones", "share", "why"),
    [
        (spread(a=3), {}, "insufficient node information"),
        (spread(a=3), parts(a=1), "only ready in one zone"),
        (spread(a=1), parts(a=1, b=1), r"insufficient number of endpoints \(1\)"),
        (spread(a=2, b=1), parts(a=1, b=1), "exceeds overload threshold"),
        ({**spread(a=3, b=3), "x": ""}, parts(a=1, b=1), "do not have a zone"),
    ],
)
def test_when_there_are_none(zones: dict[str, str], share: dict[str, Fraction], why: str) -> None:
    with pytest.raises(NoHints, match=why):
        hints(zones, share, {})


ZONES = st.sampled_from("abcd")


@given(
    st.dictionaries(st.integers(0, 99).map(str), ZONES, max_size=40),
    st.dictionaries(ZONES, st.integers(1, 9), min_size=2),
    st.dictionaries(st.integers(0, 99).map(str), ZONES, max_size=40),
)
def test_no_zone_is_overloaded_and_nothing_moves_without_need(
    zones: dict[str, str], weights: dict[str, int], before: dict[str, str]
) -> None:
    share = parts(**weights)
    try:
        found = hints(zones, share, before)
    except NoHints:
        return
    assert found.keys() == zones.keys()
    counts = Counter(found.values())
    assert counts.keys() <= share.keys()
    for zone, part in share.items():
        assert counts[zone] * (1 + OVERLOAD) >= part * len(zones), "more than its share and a fifth"
    assert hints(zones, share, found) == found, "who was given away stays so"


@pytest.mark.parametrize(
    ("annotations", "asked"),
    [
        ({}, False),
        ({"service.kubernetes.io/topology-mode": "Auto"}, True),
        ({"service.kubernetes.io/topology-mode": "Disabled"}, False),
        ({"service.kubernetes.io/topology-aware-hints": "auto"}, True),
        (
            {
                "service.kubernetes.io/topology-mode": "Disabled",
                "service.kubernetes.io/topology-aware-hints": "auto",
            },
            False,
        ),
    ],
)
def test_who_asks(annotations: dict[str, str], asked: bool) -> None:
    service = corev1.Service()
    service.metadata.annotations.update(annotations)
    assert is_asked(service) == asked
