"""How objects are prepared: status apart, generations, system metadata, allocated values, scale."""

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec import from_json
from navarch.services.api.equality import same
from navarch.services.api.kinds import KINDS
from navarch.services.api.scale import get_scale, set_scale, validate_scale
from navarch.services.api.strategy import strategy_for


def copy_of(obj):
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy


def created(kind: str, **fields):
    obj = from_json({"apiVersion": KINDS.find(kind).api_version, "kind": kind, **fields})
    strategy = strategy_for(KINDS.of(obj))
    strategy.default(obj)
    strategy.prepare_for_create(obj)
    return obj


def updated(old, change):
    new = copy_of(old)
    change(new)
    strategy = strategy_for(KINDS.of(old))
    strategy.default(new)
    strategy.prepare_for_update(new, old)
    return new


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: f"{kind.api_version}.{kind.kind}")
def test_every_kind_can_be_prepared(kind):
    strategy, obj = strategy_for(kind), kind.message()
    if "metadata" not in obj.DESCRIPTOR.fields_by_name or "watch" not in kind.verbs:
        return
    obj.metadata.name = "x"
    if kind.namespaced:
        obj.metadata.namespace = "default"
    strategy.default(obj)
    strategy.prepare_for_create(obj)
    old = copy_of(obj)
    strategy.prepare_for_update(obj, old)
    strategy.prepare_for_status_update(obj, old)
    assert same(obj, old)


def test_a_creator_sets_no_status_and_no_system_metadata():
    metadata = {
        "name": "x",
        "generation": 7,
        "deletionTimestamp": "2024-01-01T00:00:00Z",
        "managedFields": [{"manager": "m"}],
    }
    deployment = created("Deployment", metadata=metadata, status={"replicas": 3})
    assert not deployment.HasField("status")
    assert deployment.metadata.generation == 1
    assert not deployment.metadata.HasField("deletion_timestamp")
    assert not deployment.metadata.managed_fields


def test_a_new_pod_is_pending():
    gated = created("Pod", spec={"containers": [], "schedulingGates": [{"name": "g"}]}, status={"phase": "Running"})
    assert (gated.status.phase, gated.status.conditions[0].reason) == ("Pending", "SchedulingGated")


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
    ],
)
def test_quality_of_service(resources, expected):
    containers = [{"name": f"c{index}", "resources": item} for index, item in enumerate(resources)]
    assert created("Pod", spec={"containers": containers}).status.qos_class == expected


def test_a_node_may_register_with_its_status():
    assert created("Node", status={"capacity": {"cpu": "2"}}).status.capacity["cpu"].string == "2"


def test_a_namespace_starts_active_with_its_finalizer():
    namespace = created("Namespace", metadata={"name": "x"})
    assert (namespace.status.phase, list(namespace.spec.finalizers)) == ("Active", ["kubernetes"])


@pytest.mark.parametrize(
    ("kind", "change", "generation"),
    [
        ("Deployment", lambda obj: setattr(obj.spec, "replicas", 5), 2),
        ("Deployment", lambda obj: obj.metadata.annotations.update(a="b"), 2),
        ("Deployment", lambda obj: obj.metadata.labels.update(a="b"), 1),
        ("Deployment", lambda obj: setattr(obj.spec, "paused", False), 1),
        ("Deployment", lambda obj: setattr(obj.metadata, "generation", 9), 1),
        ("ReplicaSet", lambda obj: setattr(obj.spec, "min_ready_seconds", 5), 2),
        ("ReplicaSet", lambda obj: obj.metadata.annotations.update(a="b"), 1),
        ("Pod", lambda obj: obj.spec.tolerations.add(operator="Exists"), 2),
        ("EndpointSlice", lambda obj: obj.endpoints.add(addresses=["10.0.0.1"]), 2),
        ("EndpointSlice", lambda obj: obj.metadata.annotations.update(a="b"), 1),
        ("ConfigMap", lambda obj: obj.data.update(a="b"), 0),
        ("Service", lambda obj: obj.spec.selector.update(a="b"), 0),
    ],
)
def test_generation(kind, change, generation):
    assert updated(created(kind, metadata={"name": "x"}), change).metadata.generation == generation


def test_update_keeps_status_and_what_clients_leave_out():
    old = created(
        "Deployment", metadata={"name": "x", "namespace": "d", "uid": "u", "creationTimestamp": "2024-01-01T00:00:00Z"}
    )
    old.status.replicas = 3

    def forget(obj: appsv1.Deployment) -> None:
        obj.ClearField("status")
        for field in ("uid", "namespace", "creation_timestamp", "generation"):
            obj.metadata.ClearField(field)

    assert updated(old, forget) == old


def test_deletion_cannot_be_set_or_taken_back_by_update():
    alive = created("ConfigMap", metadata={"name": "x"})
    dying = copy_of(alive)
    dying.metadata.deletion_timestamp.seconds = 5
    dying.metadata.deletion_grace_period_seconds = 30
    assert updated(dying, lambda obj: obj.metadata.ClearField("deletion_timestamp")) == dying
    strategy, attempt = strategy_for(KINDS.of(alive)), copy_of(dying)
    strategy.prepare_for_update(attempt, alive)
    fields = {error.field for error in strategy.validate_update(attempt, alive)}
    assert {"metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds"} <= fields


def test_status_update_changes_only_status():
    old = created("Deployment", metadata={"name": "x", "labels": {"a": "1"}})
    new = copy_of(old)
    new.status.replicas, new.spec.replicas, new.metadata.labels["a"] = 3, 9, "2"
    strategy_for(KINDS.of(old)).prepare_for_status_update(new, old)
    assert (new.status.replicas, new.spec.replicas, new.metadata.labels["a"], new.metadata.generation) == (3, 1, "1", 1)


def allocated(**spec) -> corev1.Service:
    service = created("Service", metadata={"name": "x"}, spec={"ports": [{"port": 80}], **spec})
    if service.spec.type != "ExternalName" and not service.spec.cluster_ip:
        service.spec.cluster_ip = "10.96.0.5"
        service.spec.cluster_ips.append("10.96.0.5")
    if service.spec.type == "NodePort":
        service.spec.ports[0].node_port = 30080
    return service


def test_allocated_values_survive_an_update_that_does_not_name_them():
    old = allocated(type="NodePort")

    def forget(service: corev1.Service) -> None:
        for field in ("cluster_ip", "cluster_ips", "ip_families", "ip_family_policy"):
            service.spec.ClearField(field)
        service.spec.ports[0].ClearField("node_port")

    spec = updated(old, forget).spec
    assert (spec.cluster_ip, list(spec.cluster_ips), spec.ports[0].node_port) == ("10.96.0.5", ["10.96.0.5"], 30080)
    assert spec == old.spec


def test_a_change_of_type_drops_what_only_the_old_type_had():
    def to_cluster_ip(service: corev1.Service) -> None:
        service.spec.type = "ClusterIP"

    def to_external_name(service: corev1.Service) -> None:
        service.spec.type, service.spec.external_name = "ExternalName", "example.com"

    service = updated(allocated(type="NodePort"), to_cluster_ip)
    assert (service.spec.ports[0].node_port, service.spec.external_traffic_policy) == (0, "")
    assert service.spec.cluster_ip == "10.96.0.5"
    service = updated(service, to_external_name)
    assert (service.spec.cluster_ip, list(service.spec.cluster_ips)) == ("", [])
    service.metadata.namespace = "default"
    assert strategy_for(KINDS.of(service)).validate(service) == []


def test_a_service_that_becomes_a_name_loses_its_families_though_its_address_is_dropped_by_the_caller():
    def to_external_name(service: corev1.Service) -> None:
        service.spec.type, service.spec.external_name, service.spec.cluster_ip = "ExternalName", "example.com", ""
        service.spec.ClearField("cluster_ips")

    service = updated(allocated(), to_external_name)
    assert (list(service.spec.ip_families), service.spec.ip_family_policy) == ([], "")
    service.metadata.namespace = "default"
    assert strategy_for(KINDS.of(service)).validate(service) == []


def test_a_pod_template_warns_of_variables_that_hide_each_other():
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    pod = created("Pod", spec={"containers": [{"name": "c", "env": env}]})
    (warning,) = strategy_for(KINDS.of(pod)).warnings(pod)
    assert warning.startswith('spec.containers[0].env[1]: hides previous definition of "A"')


@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        ("Deployment", {"matchLabels": {"a": "1"}}),
        ("ReplicaSet", {"matchLabels": {"a": "1"}}),
        ("ReplicationController", {"a": "1"}),
    ],
)
def test_scale(kind, selector):
    obj = created(kind, metadata={"name": "x", "namespace": "d"}, spec={"replicas": 3, "selector": selector})
    obj.status.replicas = 2
    scale = get_scale(obj)
    assert (scale.metadata.name, scale.spec.replicas, scale.status.replicas) == ("x", 3, 2)
    assert scale.status.selector == "a=1"
    set_scale(obj, autoscalingv1.Scale(spec=autoscalingv1.ScaleSpec(replicas=0)))
    assert obj.spec.replicas == 0


def test_scale_is_never_negative():
    assert validate_scale(autoscalingv1.Scale(spec=autoscalingv1.ScaleSpec(replicas=-1)))[0].field == "spec.replicas"
    assert validate_scale(autoscalingv1.Scale()) == []


def test_equality_knows_pointers_quantities_and_zero_values():
    plain, explicit = corev1.PodSpec(), corev1.PodSpec(hostname="", host_network=False)
    assert same(plain, explicit)
    assert not same(plain, corev1.PodSpec(priority=0))
    left, right = corev1.ResourceRequirements(), corev1.ResourceRequirements()
    left.limits["cpu"].string, right.limits["cpu"].string = "1000m", "1"
    assert same(left, right)
    right.limits["cpu"].string = "2"
    assert not same(left, right)
