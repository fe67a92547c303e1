"""What the genuine kubelet asks of an API server, as `system:node:n1`, and kube-proxy beside it, in protobuf."""

from typing import Any

import pytest
import pytest_asyncio

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.authorization import v1_pb2 as authorizationv1
from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.meta import v1_pb2 as metav1

pytestmark = pytest.mark.asyncio(loop_scope="module")
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PODS = "/api/v1/namespaces/default/pods"
START = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
# What kube-proxy does not want to see.
PROXIED = "labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io%2Fservice-proxy-name"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubelet(door: Any) -> Any:
    """Of n1, which has registered its node."""
    client = door.connect("system:node:n1", "system:nodes")
    node = corev1.Node(metadata=metav1.ObjectMeta(name="n1", labels={"kubernetes.io/hostname": "n1"}))
    node.status.capacity["cpu"].string = "4"
    await client.post("/api/v1/nodes", node)
    return client


async def test_it_asks_for_its_certificate(door: Any, admin: Any, sign: Any) -> None:
    """As a bootstrapper first; somebody approves and signs."""
    joining = door.connect("system:bootstrap:abcdef", "system:bootstrappers")
    request = certificatesv1.CertificateSigningRequest(metadata=metav1.ObjectMeta(generate_name="csr-"))
    request.spec.request = sign("system:node:n9", "system:nodes")
    request.spec.signer_name = "kubernetes.io/kube-apiserver-client-kubelet"
    request.spec.usages.extend(("digital signature", "client auth"))
    made = await joining.post(REQUESTS, request)
    assert made.spec.username == "system:bootstrap:abcdef"
    path = f"{REQUESTS}/{made.metadata.name}"
    made.status.conditions.add(type="Approved", status="True", reason="AutoApproved")
    assert (await joining.ask("PUT", f"{path}/approval", made)).refusal == (403, "Forbidden")
    approved = await admin.put(f"{path}/approval", made)
    assert approved.status.conditions[0].type == "Approved"
    assert (await joining.get(path)).status.conditions[0].status == "True"


async def test_it_registers_its_node_and_reports_on_it(kubelet: Any) -> None:
    again = await kubelet.ask("POST", "/api/v1/nodes", corev1.Node(metadata=metav1.ObjectMeta(name="n1")))
    assert again.refusal == (409, "AlreadyExists")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    pressure = {"type": "MemoryPressure", "status": "False"}
    await kubelet.patch("/api/v1/nodes/n1/status", {"status": {"conditions": [ready]}})
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}]
    patch = {"status": {"conditions": [pressure], "addresses": addresses}}
    node = await kubelet.patch("/api/v1/nodes/n1/status", patch)
    assert {one.type: one.status for one in node.status.conditions} == {"Ready": "True", "MemoryPressure": "False"}
    assert node.status.capacity["cpu"].string == "4"
    other = await kubelet.ask("PATCH", "/api/v1/nodes/n2/status", {}, "application/strategic-merge-patch+json")
    assert other.refusal == (403, "Forbidden")


async def test_it_watches_its_node_alone(kubelet: Any) -> None:
    async with kubelet.watch(f"/api/v1/nodes?{START}&fieldSelector=metadata.name%3Dn1") as events:
        seen = await events.until("BOOKMARK")
    assert [one.metadata.name for _, one in seen[:-1]] == ["n1"]
    assert (await kubelet.ask("GET", "/api/v1/nodes")).refusal == (403, "Forbidden")


async def test_it_renews_its_lease(kubelet: Any) -> None:
    assert (await kubelet.ask("GET", f"{LEASES}/n1")).refusal == (404, "NotFound")
    lease = coordinationv1.Lease(metadata=metav1.ObjectMeta(name="n1"))
    lease.spec.holder_identity, lease.spec.lease_duration_seconds = "n1", 40
    made = await kubelet.post(LEASES, lease)
    made.spec.renew_time.seconds, made.spec.renew_time.nanos = 1700000000, 1000
    assert (await kubelet.put(f"{LEASES}/n1", made)).spec.renew_time.seconds == 1700000000
    lease.metadata.name = "n2"
    assert (await kubelet.ask("POST", LEASES, lease)).refusal == (403, "Forbidden")


async def test_a_pod_of_its_node(kubelet: Any, admin: Any, a_pod: Any) -> None:
    """Seen as soon as it is bound, reported on by merging conditions, and removed at the end."""
    async with kubelet.watch(f"/api/v1/pods?{START}&fieldSelector=spec.nodeName%3Dn1") as events:
        await events.until("BOOKMARK")
        made = await admin.post(PODS, a_pod("web", "n1"))
        assert (await events.next())[1].metadata.uid == made.metadata.uid
        ready = {"type": "Ready", "status": "True"}
        patch = {"metadata": {"uid": made.metadata.uid}, "status": {"phase": "Running", "conditions": [ready]}}
        changed = await kubelet.patch(f"{PODS}/web/status", patch)
        assert "Ready" in [one.type for one in changed.status.conditions]
        options = metav1.DeleteOptions(grace_period_seconds=0)
        options.preconditions.uid = made.metadata.uid
        await kubelet.delete(f"{PODS}/web", options)
        assert [kind for kind, _ in await events.until("DELETED")][-1] == "DELETED"


async def test_what_its_pods_name(kubelet: Any, admin: Any, a_pod: Any) -> None:
    """The Secret and the token that a Pod of the node needs; no others."""
    for name in ("needed", "hidden"):
        secret = corev1.Secret(metadata=metav1.ObjectMeta(name=name))
        await admin.post("/api/v1/namespaces/default/secrets", secret)
    robot = corev1.ServiceAccount(metadata=metav1.ObjectMeta(name="robot"))
    await admin.post("/api/v1/namespaces/default/serviceaccounts", robot)
    pod = a_pod("reader", "n1")
    pod.spec.service_account_name = "robot"
    pod.spec.volumes.add(name="s").volume_source.secret.secret_name = "needed"
    made = await admin.post(PODS, pod)
    assert (await kubelet.get("/api/v1/namespaces/default/secrets/needed")).metadata.name == "needed"
    hidden = await kubelet.ask("GET", "/api/v1/namespaces/default/secrets/hidden")
    assert hidden.refusal == (403, "Forbidden")
    request = authenticationv1.TokenRequest()
    request.spec.expiration_seconds = 3607
    request.spec.bound_object_ref.kind, request.spec.bound_object_ref.api_version = "Pod", "v1"
    request.spec.bound_object_ref.name, request.spec.bound_object_ref.uid = "reader", made.metadata.uid
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    token = (await kubelet.post(path, request)).status.token
    review = authenticationv1.TokenReview()
    review.spec.token = token
    reviewed = await kubelet.post("/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert reviewed.status.user.username == "system:serviceaccount:default:robot"
    assert list(reviewed.status.user.extra["authentication.kubernetes.io/pod-name"].items) == ["reader"]


async def test_who_may_read_its_logs(kubelet: Any) -> None:
    review = authorizationv1.SubjectAccessReview()
    review.spec.user = "jane"
    wanted = review.spec.resource_attributes
    wanted.verb, wanted.resource, wanted.subresource, wanted.name = "get", "nodes", "log", "n1"
    answer = await kubelet.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert not answer.status.allowed


async def test_its_events(kubelet: Any) -> None:
    path = "/api/v1/namespaces/default/events"
    event = corev1.Event(metadata=metav1.ObjectMeta(name="web.1"), reason="Pulled", message="m", count=1)
    event.involved_object.kind, event.involved_object.name = "Pod", "web"
    event.involved_object.namespace = "default"
    await kubelet.post(path, event)
    assert (await kubelet.patch(f"{path}/web.1", {"count": 2, "message": "again"})).count == 2


@pytest.mark.parametrize("resource", ["services", "csidrivers", "runtimeclasses"])
async def test_informers_of_what_all_nodes_share(kubelet: Any, resource: str) -> None:
    group = {"services": "/api/v1", "csidrivers": "/apis/storage.k8s.io/v1"}.get(resource, "/apis/node.k8s.io/v1")
    async with kubelet.watch(f"{group}/{resource}?{START}") as events:
        assert (await events.until("BOOKMARK"))[-1][0] == "BOOKMARK"


class TestKubeProxy:
    """Services and their endpoints but for headless ones and those of other proxies, and its own node."""

    async def test_services(self, door: Any, admin: Any) -> None:
        proxy = door.connect("system:kube-proxy")
        path = "/api/v1/namespaces/default/services"
        for name, labels in (("seen", {}), ("headless", {"service.kubernetes.io/headless": ""})):
            service = corev1.Service(metadata=metav1.ObjectMeta(name=name, labels=labels))
            service.spec.ports.add(port=80)
            await admin.post(path, service)
        async with proxy.watch(f"/api/v1/services?{START}&{PROXIED}") as events:
            names = [one.metadata.name for _, one in (await events.until("BOOKMARK"))[:-1]]
        assert "seen" in names
        assert "headless" not in names

    async def test_endpoint_slices(self, door: Any, admin: Any) -> None:
        proxy = door.connect("system:kube-proxy")
        listed = await proxy.get(f"/apis/discovery.k8s.io/v1/endpointslices?limit=500&resourceVersion=0&{PROXIED}")
        after = listed.metadata.resource_version
        found = discoveryv1.EndpointSlice(metadata=metav1.ObjectMeta(name="seen-1"), address_type="IPv4")
        found.endpoints.add(addresses=["192.0.2.5"])
        path = f"/apis/discovery.k8s.io/v1/endpointslices?watch=true&resourceVersion={after}&{PROXIED}"
        async with proxy.watch(path) as events:
            await admin.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", found)
            assert (await events.next())[1].endpoints[0].addresses == ["192.0.2.5"]

    async def test_its_limits(self, door: Any) -> None:
        proxy = door.connect("system:kube-proxy")
        assert (await proxy.get("/api/v1/nodes?fieldSelector=metadata.name%3Dn1")) is not None
        assert (await proxy.ask("GET", "/api/v1/secrets")).refusal == (403, "Forbidden")
        assert (await proxy.ask("DELETE", "/api/v1/nodes/n1")).refusal == (403, "Forbidden")
