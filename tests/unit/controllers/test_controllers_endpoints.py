"""Endpoints and EndpointSlices: who is behind a Service, and the fewest writes that say so."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.intstr_pb2 import IntOrString
from navarch.services.controller_manager import backends, endpoints
from navarch.services.controller_manager.endpoints.plan import plan as plan_endpoints
from navarch.services.controller_manager.endpointslice.content import MANAGED_BY, SERVICE_NAME
from navarch.services.controller_manager.endpointslice.plan import SLICE_LIMIT, Plan, plan

NODES = {"node-0": "", "node-1": "", "node-2": ""}
NUMBER = IntOrString(type=0, int_val=8080)
NAME = IntOrString(type=1, str_val="http")


def a_service(target: IntOrString = NUMBER, **fields: object) -> corev1.Service:
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace, service.metadata.uid = "web", "default", "uid-web"
    service.metadata.labels["tier"] = "front"
    service.spec.selector["app"] = "web"
    service.spec.ip_families.append("IPv4")
    service.spec.ports.add(name="http", port=80, protocol="TCP", target_port=target)
    for name, value in fields.items():
        setattr(service.spec, name, value)
    return service


def a_pod(
    number: int, *, ready: bool = True, leaving: bool = False, phase: str = "Running", ip: str = "", port: int = 8080
) -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = f"pod-{number:04}", "default", f"uid-{number}"
    pod.metadata.labels["app"] = "web"
    pod.spec.node_name = f"node-{number % 3}"
    pod.spec.containers.add(name="main").ports.add(name="http", container_port=port, protocol="TCP")
    pod.status.phase = phase
    pod.status.pod_ip = ip or f"10.244.{number // 250}.{number % 250 + 1}"
    pod.status.pod_ips.add(ip=pod.status.pod_ip)
    pod.status.conditions.add(type="Ready", status="True" if ready else "False")
    if leaving:
        pod.metadata.deletion_timestamp.seconds = 1
    return pod


def stored(step: Plan, before: list[discoveryv1.EndpointSlice]) -> list[discoveryv1.EndpointSlice]:
    """What the API would hold after these writes."""
    slices = {each.metadata.name: each for each in before}
    for each in step.delete:
        del slices[each.metadata.name]
    for each in step.update:
        slices[each.metadata.name] = each
    for number, each in enumerate(step.create):
        each.metadata.name = f"{each.metadata.generate_name}{len(before)}{number}"
        slices[each.metadata.name] = each
    return list(slices.values())


@pytest.mark.parametrize(
    ("pod", "publish", "expected"),
    [
        pytest.param(a_pod(1), False, (True, True, False), id="ready"),
        pytest.param(a_pod(1, ready=False), False, (False, False, False), id="not ready"),
        pytest.param(a_pod(1, ready=False), True, (True, False, False), id="not ready, published all the same"),
        pytest.param(a_pod(1, leaving=True), False, (False, True, True), id="serves to the last"),
        pytest.param(a_pod(1, leaving=True, ready=False), False, (False, False, True), id="leaving"),
        pytest.param(a_pod(1, phase="Succeeded"), False, None, id="ended"),
    ],
)
def test_conditions(pod: corev1.Pod, publish: bool, expected: tuple[bool, bool, bool] | None) -> None:
    (only,) = plan(a_service(publish_not_ready_addresses=publish), [pod], NODES, []).create
    found = [(each.conditions.ready, each.conditions.serving, each.conditions.terminating) for each in only.endpoints]
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("target", "pod", "expected"),
    [
        pytest.param(NUMBER, a_pod(1, port=1), 8080, id="number"),
        pytest.param(NAME, a_pod(1, port=1234), 1234, id="name"),
        pytest.param(IntOrString(type=1, str_val="x"), a_pod(1), None, id="a name it does not have"),
        pytest.param(IntOrString(), a_pod(1), 80, id="none: the Service's own"),
    ],
)
def test_target_ports(target: IntOrString, pod: corev1.Pod, expected: int | None) -> None:
    found = backends.ports_of(a_service(target), pod)
    assert [each.port for each in found] == ([expected] if expected else [])


def test_pods_with_different_ports_get_different_slices() -> None:
    step = plan(a_service(NAME), [a_pod(1, port=1), a_pod(2, port=2), a_pod(3, port=1)], NODES, [])
    found = {each.ports[0].port: [end.target_ref.name for end in each.endpoints] for each in step.create}
    assert found == {1: ["pod-0001", "pod-0003"], 2: ["pod-0002"]}


def test_a_slice_says_all_about_its_endpoints() -> None:
    pod = a_pod(1)
    pod.spec.hostname, pod.spec.subdomain = "db-0", "web"
    (only,) = plan(a_service(cluster_ip="None"), [pod], {"node-1": "west"}, []).create
    assert only.metadata.labels == {
        "tier": "front",
        SERVICE_NAME: "web",
        MANAGED_BY: "endpointslice-controller.k8s.io",
        "service.kubernetes.io/headless": "",
    }
    assert only.address_type == "IPv4"
    assert only.metadata.owner_references[0].uid == "uid-web"
    (end,) = only.endpoints
    assert (end.node_name, end.zone, end.hostname, end.target_ref.kind) == ("node-1", "west", "db-0", "Pod")


@pytest.mark.parametrize(
    ("distribution", "pod", "zones", "nodes"),
    [
        pytest.param("", a_pod(1), [], [], id="none asked for"),
        pytest.param("PreferClose", a_pod(1), ["west"], [], id="close"),
        pytest.param("PreferSameZone", a_pod(1), ["west"], [], id="same zone"),
        pytest.param("PreferSameNode", a_pod(1), ["west"], ["node-1"], id="same node, then same zone"),
        pytest.param("PreferSameZone", a_pod(2), [], [], id="a node without a zone"),
        pytest.param("PreferSameNode", a_pod(2), [], ["node-2"], id="a node without a zone is a node"),
        pytest.param("PreferSameNode", a_pod(1, ready=False), [], [], id="not ready"),
        pytest.param("PreferSameNode", a_pod(1, leaving=True), [], [], id="leaving"),
    ],
)
def test_hints(distribution: str, pod: corev1.Pod, zones: list[str], nodes: list[str]) -> None:
    service = a_service(traffic_distribution=distribution) if distribution else a_service()
    (only,) = plan(service, [pod], {**NODES, "node-1": "west"}, []).create
    (end,) = only.endpoints
    assert end.HasField("hints") is bool(zones or nodes)
    assert [each.name for each in end.hints.for_zones] == zones
    assert [each.name for each in end.hints.for_nodes] == nodes


def test_hints_come_and_go_with_the_wish() -> None:
    zones, pods = {"node-1": "west"}, [a_pod(1)]
    slices = stored(plan(a_service(), pods, zones, []), [])
    near = plan(a_service(traffic_distribution="PreferClose"), pods, zones, slices)
    assert [each.endpoints[0].hints.for_zones[0].name for each in near.update] == ["west"]
    far = plan(a_service(), pods, zones, stored(near, slices))
    assert [each.endpoints[0].HasField("hints") for each in far.update] == [False]


def test_hints_for_all_zones_together_come_before_those_for_each() -> None:
    """And there are none at all where that cannot be."""
    zones, share = {"node-0": "west", "node-1": "east"}, {"west": Fraction(1, 2), "east": Fraction(1, 2)}
    service = a_service(traffic_distribution="PreferClose")
    service.metadata.annotations["service.kubernetes.io/topology-mode"] = "Auto"
    # Of node-0 and node-1.
    pods = [a_pod(number) for number in (0, 3, 6, 1)] + [a_pod(4, ready=False)]
    step = plan(service, pods, zones, [], share=lambda: share)
    (only,) = step.create
    meant = {each.target_ref.uid: [one.name for one in each.hints.for_zones] for each in only.endpoints}
    assert sorted(zone for found in meant.values() for zone in found) == ["east", "east", "west", "west"]
    assert meant["uid-4"] == []
    assert step.without_hints == {"IPv4": ""}
    step = plan(service, pods[:3], zones, stored(step, []), share=lambda: share)
    assert [each.HasField("hints") for one in step.update for each in one.endpoints] == [False] * 3
    assert "exceeds overload threshold" in step.without_hints["IPv4"]


@pytest.mark.parametrize(("publish", "expected"), [(False, 0), (True, 1)])
def test_a_pod_whose_node_is_gone_serves_nobody(publish: bool, expected: int) -> None:
    (only,) = plan(a_service(publish_not_ready_addresses=publish), [a_pod(1)], {"node-2": ""}, []).create
    assert len(only.endpoints) == expected


def test_slices_of_a_namesake_that_is_gone_are_not_used() -> None:
    service, pods = a_service(), [a_pod(1)]
    slices = stored(plan(service, pods, NODES, []), [])
    service.metadata.uid = "uid-of-another"
    step = plan(service, pods, NODES, slices)
    assert (len(step.create), step.update, step.delete) == (1, [], slices)


def test_labels_of_the_service_are_those_of_its_slices() -> None:
    service, pods = a_service(), [a_pod(number) for number in range(150)]
    slices = stored(plan(service, pods, NODES, []), [])
    service.metadata.labels["tier"] = "back"
    service.metadata.labels[MANAGED_BY] = "somebody"
    step = plan(service, pods, NODES, slices)
    assert [each.metadata.labels["tier"] for each in step.update] == ["back", "back"]
    assert {each.metadata.labels[MANAGED_BY] for each in step.update} == {"endpointslice-controller.k8s.io"}


def test_a_smaller_limit() -> None:
    step = plan(a_service(), [a_pod(number) for number in range(7)], NODES, [], limit=3)
    assert sorted(len(each.endpoints) for each in step.create) == [1, 3, 3]


def test_a_service_whose_pods_all_went_keeps_one_slice() -> None:
    service = a_service()
    slices = stored(plan(service, [a_pod(number) for number in range(250)], NODES, []), [])
    step = plan(service, [], NODES, slices)
    assert (len(step.create), len(step.update), len(step.delete)) == (0, 1, 2)
    assert not step.update[0].endpoints
    assert plan(service, [], NODES, stored(step, slices)) == Plan()


@pytest.mark.parametrize(
    ("cluster_ip", "expected"),
    [("10.96.0.1", ["IPv4"]), ("fd00::1", ["IPv6"]), ("None", ["IPv4", "IPv6"])],
)
def test_families_of_a_service_that_names_none(cluster_ip: str, expected: list[str]) -> None:
    service = a_service(cluster_ip=cluster_ip)
    del service.spec.ip_families[:]
    assert backends.families(service) == expected


def test_a_port_by_the_name_that_a_sidecar_gives_it() -> None:
    pod = a_pod(1)
    pod.spec.init_containers.add(name="setup").ports.add(name="admin", container_port=1)
    pod.spec.init_containers.add(name="proxy", restart_policy="Always").ports.add(name="admin", container_port=2)
    found = backends.ports_of(a_service(IntOrString(type=1, str_val="admin")), pod)
    assert [each.port for each in found] == [2]


def test_a_service_without_pods_has_one_empty_slice() -> None:
    service = a_service()
    step = plan(service, [], NODES, [])
    assert [list(each.endpoints) for each in step.create] == [[]]
    assert plan(service, [], NODES, stored(step, [])) == Plan()


def test_both_families_get_slices() -> None:
    pod = a_pod(1)
    pod.status.pod_ips.add(ip="fd00::1")
    service = a_service()
    service.spec.ip_families.append("IPv6")
    step = plan(service, [pod], NODES, [])
    assert {each.address_type: list(each.endpoints[0].addresses) for each in step.create} == {
        "IPv4": ["10.244.0.2"],
        "IPv6": ["fd00::1"],
    }
    del service.spec.ip_families[1]
    assert [each.address_type for each in plan(service, [pod], NODES, stored(step, [])).delete] == ["IPv6"]


def test_one_changed_pod_changes_one_slice() -> None:
    service, pods = a_service(), [a_pod(number) for number in range(250)]
    slices = stored(plan(service, pods, NODES, []), [])
    assert sorted(len(each.endpoints) for each in slices) == [50, 100, 100]
    pods[120] = a_pod(120, ready=False)
    step = plan(service, pods, NODES, slices)
    assert (len(step.create), len(step.update), len(step.delete)) == (0, 1, 0)


def test_an_unneeded_slice_is_rewritten_rather_than_replaced() -> None:
    service = a_service(NAME)
    slices = stored(plan(service, [a_pod(1, port=1)], NODES, []), [])
    step = plan(service, [a_pod(2, port=2)], NODES, slices)
    assert (len(step.create), len(step.update), len(step.delete)) == (0, 1, 0)
    assert step.update[0].metadata.name == slices[0].metadata.name
    assert step.update[0].ports[0].port == 2


members = st.sets(st.integers(0, 400), max_size=320)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.lists(members, min_size=1, max_size=4))
def test_slices_follow_any_history(history: list[set[int]]) -> None:
    service = a_service()
    slices: list[discoveryv1.EndpointSlice] = []
    for present in history:
        pods = [a_pod(number) for number in present]
        slices = stored(plan(service, pods, NODES, slices), slices)
        listed = [end.target_ref.uid for each in slices for end in each.endpoints]
        assert sorted(listed) == sorted(pod.metadata.uid for pod in pods)
        assert slices
        assert all(len(each.endpoints) <= SLICE_LIMIT for each in slices)
        assert plan(service, pods, NODES, slices) == Plan(), "a second look finds work"


class TestEndpoints:
    """The single-object form."""

    def test_ready_and_others_apart(self) -> None:
        pods = [a_pod(1), a_pod(2, ready=False), a_pod(3, leaving=True), a_pod(4, phase="Failed")]
        found = plan_endpoints(a_service(), pods, None)
        (subset,) = found.subsets
        assert [each.target_ref.name for each in subset.addresses] == ["pod-0001"]
        assert [each.target_ref.name for each in subset.not_ready_addresses] == ["pod-0002"]
        assert [(each.name, each.port) for each in subset.ports] == [("http", 8080)]
        assert found.metadata.labels[endpoints.plan.MANAGED_BY] == "endpoint-controller"

    def test_a_second_look_finds_nothing_to_do(self) -> None:
        pods = [a_pod(1), a_pod(2)]
        found = plan_endpoints(a_service(), pods, None)
        assert plan_endpoints(a_service(), list(reversed(pods)), found) is None

    def test_no_pods_no_subsets(self) -> None:
        assert not plan_endpoints(a_service(), [], None).subsets

    def test_too_many_are_cut_and_said_so(self) -> None:
        pods = [a_pod(number, ready=number % 2 == 0) for number in range(1100)]
        found = plan_endpoints(a_service(), pods, None)
        (subset,) = found.subsets
        assert (len(subset.addresses), len(subset.not_ready_addresses)) == (550, 450)
        assert found.metadata.annotations["endpoints.kubernetes.io/over-capacity"] == "truncated"

    def test_each_subset_is_cut_in_proportion(self) -> None:
        pods = [a_pod(number, port=1 + number % 3) for number in range(1500)] + [a_pod(1600, ready=False)]
        found = plan_endpoints(a_service(NAME), pods, None)
        assert [len(each.addresses) for each in found.subsets] == [334, 334, 332]
        assert not any(each.not_ready_addresses for each in found.subsets)
        assert plan_endpoints(a_service(NAME), pods, found) is None

    def test_the_cut_is_taken_back(self) -> None:
        pods = [a_pod(number) for number in range(1001)]
        found = plan_endpoints(a_service(), pods[:1000], plan_endpoints(a_service(), pods, None))
        assert len(found.subsets[0].addresses) == 1000
        assert "endpoints.kubernetes.io/over-capacity" not in found.metadata.annotations

    def test_unready_ones_are_published_where_asked_for(self) -> None:
        pods = [a_pod(1, ready=False), a_pod(2, leaving=True)]
        (subset,) = plan_endpoints(a_service(publish_not_ready_addresses=True), pods, None).subsets
        assert [each.target_ref.name for each in subset.addresses] == ["pod-0001", "pod-0002"]

    def test_only_the_primary_family(self) -> None:
        pod = a_pod(1)
        pod.status.pod_ips.add(ip="fd00::1")
        service = a_service()
        service.spec.ip_families[:] = ["IPv6", "IPv4"]
        (subset,) = plan_endpoints(service, [pod], None).subsets
        assert [each.ip for each in subset.addresses] == ["fd00::1"]

    def test_a_headless_service_without_ports_still_has_addresses(self) -> None:
        service = a_service(cluster_ip="None")
        del service.spec.ports[:]
        (subset,) = plan_endpoints(service, [a_pod(1)], None).subsets
        assert len(subset.addresses) == 1
        assert not subset.ports


@pytest.mark.parametrize(
    ("selector", "labels", "found"),
    [
        pytest.param({"app": "web"}, {"app": "web", "v": "2"}, True, id="one"),
        pytest.param({"app": "web", "v": "2"}, {"app": "web", "v": "2"}, True, id="all"),
        pytest.param({"app": "web", "v": "2"}, {"app": "web"}, False, id="not all"),
        pytest.param({"app": "web"}, {"app": "db"}, False, id="another value"),
        pytest.param({}, {"app": "web"}, False, id="nothing selected"),
    ],
)
def test_services_and_pods_find_each_other_by_labels(
    selector: dict[str, str], labels: dict[str, str], found: bool
) -> None:
    service, pod = a_service(), a_pod(1)
    service.spec.selector.clear()
    service.spec.selector.update(selector)
    pod.metadata.labels.clear()
    pod.metadata.labels.update(labels)
    assert (set(backends.selected(service)) <= set(backends.by_label(pod)) and backends.selects(service)) is found
    assert set(backends.by_selector(service)) <= set(backends.selected(service))
    elsewhere = a_pod(1)
    elsewhere.metadata.namespace = "other"
    assert not set(backends.by_label(elsewhere)) & set(backends.selected(service))


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        pytest.param(lambda pod: pod.metadata.labels.update(v="2"), True, id="labels"),
        pytest.param(lambda pod: pod.status.conditions.pop(), True, id="readiness"),
        pytest.param(lambda pod: pod.status.container_statuses.add(restart_count=2), False, id="restarts"),
        pytest.param(lambda pod: pod.metadata.annotations.update(v="2"), False, id="annotations"),
    ],
)
def test_what_a_service_cares_about(change, matters: bool) -> None:
    before, after = a_pod(1), a_pod(1)
    change(after)
    assert (backends.traits(before) != backends.traits(after)) is matters
