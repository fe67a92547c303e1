"""EndpointSlice mirroring: which Endpoints, and what slices then show."""

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager.endpoints.plan import LEADER
from navarch.services.controller_manager.endpointslice.content import MANAGED_BY, SERVICE_NAME
from navarch.services.controller_manager.endpointslice.plan import Plan
from navarch.services.controller_manager.endpointslice_mirroring.plan import (
    LAST_APPLIED,
    MANAGER,
    SKIP,
    is_mirrored,
    mirrored,
    plan,
)


def the_endpoints(*subsets: tuple[list[str], list[str], int]) -> corev1.Endpoints:
    """subsets: ready addresses, others, port."""
    result = corev1.Endpoints()
    result.metadata.name, result.metadata.namespace, result.metadata.uid = "db", "default", "uid-db"
    for ready, waiting, port in subsets:
        subset = result.subsets.add()
        for ip in ready:
            subset.addresses.add(ip=ip)
        for ip in waiting:
            subset.not_ready_addresses.add(ip=ip)
        subset.ports.add(name="sql", port=port, protocol="TCP")
    return result


def a_service(**selector: str) -> corev1.Service:
    result = corev1.Service()
    result.metadata.name, result.metadata.namespace = "db", "default"
    result.spec.selector.update(selector)
    return result


def labelled(value: str) -> corev1.Endpoints:
    result = the_endpoints()
    result.metadata.labels[SKIP] = value
    return result


def a_lock() -> corev1.Endpoints:
    result = the_endpoints()
    result.metadata.annotations[LEADER] = "{}"
    return result


@pytest.mark.parametrize(
    ("endpoints", "service", "expected"),
    [
        pytest.param(the_endpoints(), a_service(), True, id="no selector"),
        pytest.param(the_endpoints(), a_service(app="db"), False, id="a selector"),
        pytest.param(the_endpoints(), None, False, id="no Service"),
        pytest.param(None, a_service(), False, id="no Endpoints"),
        pytest.param(labelled("true"), a_service(), False, id="not wanted"),
        pytest.param(labelled("false"), a_service(), True, id="wanted expressly"),
        pytest.param(a_lock(), a_service(), False, id="a leader's lock"),
    ],
)
def test_which(endpoints: corev1.Endpoints | None, service: corev1.Service | None, expected: bool) -> None:
    assert is_mirrored(endpoints, service) is expected


def shown(step: Plan) -> dict[tuple[str, int], list[tuple[str, bool]]]:
    return {
        (each.address_type, each.ports[0].port): [(end.addresses[0], end.conditions.ready) for end in each.endpoints]
        for each in (*step.create, *step.update)
    }


def test_a_slice_for_each_family_and_ports() -> None:
    endpoints = the_endpoints((["10.0.0.1", "fd00::1"], ["10.0.0.2"], 1), (["10.0.0.1"], [], 2))
    assert shown(plan(endpoints, mirrored(endpoints), [])) == {
        ("IPv4", 1): [("10.0.0.1", True), ("10.0.0.2", False)],
        ("IPv6", 1): [("fd00::1", True)],
        ("IPv4", 2): [("10.0.0.1", True)],
    }


def test_a_slice_says_all_that_the_endpoints_say() -> None:
    endpoints = the_endpoints(([], [], 5432))
    address = endpoints.subsets[0].addresses.add(ip="10.0.0.1", hostname="db-0", node_name="node-1")
    address.target_ref.kind, address.target_ref.name = "VirtualMachine", "one"
    endpoints.metadata.labels["tier"] = "back"
    endpoints.metadata.annotations.update({"note": "x", LAST_APPLIED: "{}"})
    (only,) = plan(endpoints, mirrored(endpoints), []).create
    assert only.metadata.generate_name == "db-"
    assert only.metadata.labels == {"tier": "back", SERVICE_NAME: "db", MANAGED_BY: MANAGER}
    assert only.metadata.annotations == {"note": "x"}
    owner = only.metadata.owner_references[0]
    assert (owner.kind, owner.uid, owner.controller) == ("Endpoints", "uid-db", True)
    (end,) = only.endpoints
    assert (end.hostname, end.node_name, end.target_ref.name) == ("db-0", "node-1", "one")
    assert not end.conditions.HasField("serving")


def test_names_and_too_many_are_skipped_and_counted() -> None:
    found = mirrored(the_endpoints((["db.example", "10.0.0.1", "10.0.0.2"], ["10.0.0.3"], 1)), limit=2)
    assert (found.invalid, found.skipped) == (1, 2)
    (listed,) = found.groups.values()
    assert [each.addresses[0] for each in listed] == ["10.0.0.1", "10.0.0.2"]


def test_a_thousand_of_each_subset() -> None:
    many = [f"10.0.{number // 250}.{number % 250}" for number in range(1200)]
    found = mirrored(the_endpoints((many, [], 1)))
    assert ([len(each) for each in found.groups.values()], found.skipped) == ([1000], 200)


def test_a_second_look_finds_nothing_to_do_and_changes_are_few() -> None:
    endpoints = the_endpoints((["10.0.0.1"], [], 1), (["10.0.0.2"], [], 2))
    slices = plan(endpoints, mirrored(endpoints), []).create
    assert plan(endpoints, mirrored(endpoints), slices) == Plan()
    endpoints.subsets[0].addresses.add(ip="10.0.0.9")
    step = plan(endpoints, mirrored(endpoints), slices)
    assert (step.create, len(step.update), step.delete) == ([], 1, [])


def test_a_slice_that_is_not_needed_is_rewritten_or_goes() -> None:
    endpoints = the_endpoints((["10.0.0.1"], [], 1), (["10.0.0.2"], [], 2))
    slices = plan(endpoints, mirrored(endpoints), []).create
    other = the_endpoints((["10.0.0.1"], [], 3))
    step = plan(other, mirrored(other), slices)
    assert (step.create, len(step.update), len(step.delete)) == ([], 1, 1)
    assert step.update[0].ports[0].port == 3
    gone = the_endpoints()
    assert plan(gone, mirrored(gone), slices).delete == slices
