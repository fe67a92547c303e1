"""What the genuine kube-scheduler asks of an API server, as `system:kube-scheduler`, in protobuf."""

from typing import Any

import pytest
import pytest_asyncio

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.authorization import v1_pb2 as authorizationv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.events import v1_pb2 as eventsv1
from navarch.protos.k8s.meta import v1_pb2 as metav1

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
PODS = "/api/v1/namespaces/default/pods"
# The informers of its plugins.
INFORMERS = [
    "/api/v1/nodes",
    "/api/v1/namespaces",
    "/api/v1/services",
    "/api/v1/replicationcontrollers",
    "/api/v1/persistentvolumes",
    "/api/v1/persistentvolumeclaims",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/csinodes",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/storage.k8s.io/v1/csistoragecapacities",
    "/apis/storage.k8s.io/v1/volumeattachments",
    "/apis/resource.k8s.io/v1/deviceclasses",
    "/apis/resource.k8s.io/v1/resourceclaims",
    "/apis/resource.k8s.io/v1/resourceslices",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scheduler(door: Any) -> Any:
    return door.connect("system:kube-scheduler")


@pytest.mark.parametrize("path", INFORMERS)
async def test_informers_begin_with_a_watch_list(scheduler: Any, path: str) -> None:
    start = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with scheduler.watch(f"{path}?{start}&timeoutSeconds=300") as events:
        *first, (_, bookmark) = await events.until("BOOKMARK")
    assert {kind for kind, _ in first} <= {"ADDED"}
    assert bookmark.metadata.annotations["k8s.io/initial-events-end"] == "true"
    assert int(bookmark.metadata.resource_version) > 0


async def test_unfinished_pods_are_watched_by_their_phase(scheduler: Any, admin: Any, a_pod: Any) -> None:
    """`status.phase!=Succeeded,status.phase!=Failed`: a Pod that ends leaves the scheduler's sight."""
    unfinished = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"
    listed = await scheduler.get(f"/api/v1/pods?limit=500&resourceVersion=0&{unfinished}")
    after = listed.metadata.resource_version
    async with scheduler.watch(f"/api/v1/pods?watch=true&{unfinished}&resourceVersion={after}") as events:
        await admin.post(PODS, a_pod("brief"))
        await admin.patch(f"{PODS}/brief/status", {"status": {"phase": "Succeeded"}})
        assert [kind for kind, _ in await events.until("DELETED")] == ["ADDED", "DELETED"]


async def test_a_pod_is_bound_once(scheduler: Any, admin: Any, a_pod: Any) -> None:
    made = await admin.post(PODS, a_pod("waiting"))
    binding = corev1.Binding(metadata=metav1.ObjectMeta(name="waiting", uid=made.metadata.uid))
    binding.target.kind, binding.target.name = "Node", "n1"
    assert (await scheduler.post(f"{PODS}/waiting/binding", binding)).status == "Success"
    bound = await scheduler.get(f"{PODS}/waiting")
    assert bound.spec.node_name == "n1"
    assert {one.type: one.status for one in bound.status.conditions}["PodScheduled"] == "True"
    binding.target.name = "n2"
    assert (await scheduler.ask("POST", f"{PODS}/waiting/binding", binding)).refusal == (409, "Conflict")


async def test_a_binding_to_a_pod_of_the_same_name_is_refused(scheduler: Any, admin: Any, a_pod: Any) -> None:
    await admin.post(PODS, a_pod("again"))
    binding = corev1.Binding(metadata=metav1.ObjectMeta(name="again", uid="of-its-predecessor"))
    binding.target.kind, binding.target.name = "Node", "n1"
    assert (await scheduler.ask("POST", f"{PODS}/again/binding", binding)).refusal == (409, "Conflict")


async def test_why_a_pod_waits_is_merged_by_type_of_condition(scheduler: Any, admin: Any, a_pod: Any) -> None:
    await admin.post(PODS, a_pod("large"))
    ready = {"type": "Ready", "status": "False"}
    await admin.patch(f"{PODS}/large/status", {"status": {"conditions": [ready]}})
    reason = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    patch = {"status": {"conditions": [reason], "nominatedNodeName": "n1"}}
    changed = await scheduler.patch(f"{PODS}/large/status", patch)
    assert sorted(one.type for one in changed.status.conditions) == ["PodScheduled", "Ready"]
    assert changed.status.nominated_node_name == "n1"
    cleared = await scheduler.patch(f"{PODS}/large/status", {"status": {"nominatedNodeName": None}})
    assert not cleared.status.nominated_node_name


async def test_preempted_pods_are_deleted_with_a_condition(scheduler: Any, admin: Any, a_pod: Any) -> None:
    made = await admin.post(PODS, a_pod("victim"))
    told = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    await scheduler.patch(f"{PODS}/victim/status", {"status": {"conditions": [told]}})
    options = metav1.DeleteOptions(preconditions=metav1.Preconditions(uid=made.metadata.uid))
    await scheduler.delete(f"{PODS}/victim", options)


async def test_one_leader_at_a_time(scheduler: Any) -> None:
    missing = await scheduler.ask("GET", f"{LEASES}/kube-scheduler")
    assert missing.refusal == (404, "NotFound")
    lease = coordinationv1.Lease(metadata=metav1.ObjectMeta(name="kube-scheduler", namespace="kube-system"))
    lease.spec.holder_identity, lease.spec.lease_duration_seconds = "a", 15
    lease.spec.acquire_time.seconds, lease.spec.acquire_time.nanos = 1700000000, 1000
    made = await scheduler.post(LEASES, lease)
    assert made.spec.acquire_time.nanos == 1000
    assert (await scheduler.ask("POST", LEASES, lease)).refusal == (409, "AlreadyExists")
    made.spec.renew_time.seconds, made.spec.renew_time.nanos = 1700000010, 0
    renewed = await scheduler.put(f"{LEASES}/kube-scheduler", made)
    assert int(renewed.metadata.resource_version) > int(made.metadata.resource_version)
    made.spec.holder_identity = "b"
    assert (await scheduler.ask("PUT", f"{LEASES}/kube-scheduler", made)).refusal == (409, "Conflict")


async def test_events_become_series(scheduler: Any) -> None:
    event = eventsv1.Event(metadata=metav1.ObjectMeta(name="web-0.17", namespace="default"))
    event.event_time.seconds, event.event_time.nanos = 1700000000, 123456000
    event.reporting_controller, event.reporting_instance = "default-scheduler", "default-scheduler-host"
    event.action, event.reason, event.type, event.note = "Scheduling", "FailedScheduling", "Warning", "0/1 nodes"
    event.regarding.kind, event.regarding.name, event.regarding.namespace = "Pod", "web-0", "default"
    await scheduler.post(EVENTS, event)
    series = {"series": {"count": 2, "lastObservedTime": "2023-11-14T22:13:21.000000Z"}}
    changed = await scheduler.patch(f"{EVENTS}/web-0.17", series)
    assert (changed.series.count, changed.series.last_observed_time.seconds) == (2, 1700000001)
    old = await scheduler.ask("GET", "/api/v1/namespaces/default/events/web-0.17")
    assert old.refusal == (403, "Forbidden")


async def test_events_of_the_old_group(scheduler: Any, admin: Any) -> None:
    path = "/api/v1/namespaces/default/events"
    event = corev1.Event(metadata=metav1.ObjectMeta(name="old.1", namespace="default"), reason="x", message="y")
    event.involved_object.kind, event.involved_object.name = "Pod", "web-0"
    event.involved_object.namespace, event.count = "default", 1
    await scheduler.post(path, event)
    assert (await scheduler.patch(f"{path}/old.1", {"count": 2})).count == 2
    assert (await admin.get(f"{EVENTS}/old.1")).deprecated_count == 2


async def test_its_own_clients_are_reviewed(scheduler: Any) -> None:
    """Its metrics port asks the API server who may read it."""
    token = authenticationv1.TokenReview()
    token.spec.token = "no token"
    reviewed = await scheduler.post("/apis/authentication.k8s.io/v1/tokenreviews", token)
    assert not reviewed.status.authenticated
    access = authorizationv1.SubjectAccessReview()
    access.spec.user = "jane"
    access.spec.non_resource_attributes.path, access.spec.non_resource_attributes.verb = "/metrics", "get"
    reviewed = await scheduler.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", access)
    assert not reviewed.status.allowed
    access.spec.groups.append("system:masters")
    reviewed = await scheduler.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", access)
    assert reviewed.status.allowed
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    assert (await scheduler.ask("GET", path)).status in (200, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/secrets"),
        ("DELETE", "/api/v1/nodes/n1"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
        ("DELETE", "/api/v1/namespaces/default/services/web"),
    ],
)
async def test_what_is_not_its_business(scheduler: Any, method: str, path: str) -> None:
    assert (await scheduler.ask(method, path)).refusal == (403, "Forbidden")
