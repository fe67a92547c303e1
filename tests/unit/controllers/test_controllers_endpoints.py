"""Endpoints and EndpointSlices: who is behind a Service, and the fewest writes that say so."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.intstr_pb2 import IntOrString
from navarch.services.controller_manager import backends, endpoints
from navarch.services.controller_manager.endpoints.plan import plan as plan_endpoints
from navarch.services.controller_manager.endpointslice.plan import MANAGED_BY, SERVICE_NAME, SLICE_LIMIT, Plan, plan

NUMBER = IntOrString(type=0, int_val=8080)
NAME = IntOrString(type=1, str_val="http")


def a_service(target: IntOrString = NUMBER, **fields: object) -> corev1.Service:
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace, service.metadata.uid = "web", "default", "uid-web"
    service.metadata.labels["tier"] = "front"
    service.spec.selector["app"] = "web"
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
    (only,) = plan(a_service(publish_not_ready_addresses=publish), [pod], {}, []).create
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
    step = plan(a_service(NAME), [a_pod(1, port=1), a_pod(2, port=2), a_pod(3, port=1)], {}, [])
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


def test_a_service_without_pods_has_one_empty_slice() -> None:
    service = a_service()
    step = plan(service, [], {}, [])
    assert [list(each.endpoints) for each in step.create] == [[]]
    assert plan(service, [], {}, stored(step, [])) == Plan()


def test_both_families_get_slices() -> None:
    pod = a_pod(1)
    pod.status.pod_ips.add(ip="fd00::1")
    service = a_service()
    service.spec.ip_families.extend(["IPv4", "IPv6"])
    step = plan(service, [pod], {}, [])
    assert {each.address_type: list(each.endpoints[0].addresses) for each in step.create} == {
        "IPv4": ["10.244.0.2"],
        "IPv6": ["fd00::1"],
    }
    del service.spec.ip_families[1]
    assert [each.address_type for each in plan(service, [pod], {}, stored(step, [])).delete] == ["IPv6"]


def test_one_changed_pod_changes_one_slice() -> None:
    service, pods = a_service(), [a_pod(number) for number in range(250)]
    slices = stored(plan(service, pods, {}, []), [])
    assert sorted(len(each.endpoints) for each in slices) == [50, 100, 100]
    pods[120] = a_pod(120, ready=False)
    step = plan(service, pods, {}, slices)
    assert (len(step.create), len(step.update), len(step.delete)) == (0, 1, 0)


def test_an_unneeded_slice_is_rewritten_rather_than_replaced() -> None:
    service = a_service(NAME)
    slices = stored(plan(service, [a_pod(1, port=1)], {}, []), [])
    step = plan(service, [a_pod(2, port=2)], {}, slices)
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
        slices = stored(plan(service, pods, {}, slices), slices)
        listed = [end.target_ref.uid for each in slices for end in each.endpoints]
        assert sorted(listed) == sorted(pod.metadata.uid for pod in pods)
        assert slices
        assert all(len(each.endpoints) <= SLICE_LIMIT for each in slices)
        assert plan(service, pods, {}, slices) == Plan(), "a second look finds work"


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

    def test_a_headless_service_without_ports_still_has_addresses(self) -> None:
        service = a_service(cluster_ip="None")
        del service.spec.ports[:]
        (subset,) = plan_endpoints(service, [a_pod(1)], None).subsets
        assert len(subset.addresses) == 1
        assert not subset.ports


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
