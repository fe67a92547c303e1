"""What the genuine kube-controller-manager asks of an API server, as `system:kube-controller-manager`."""

from typing import Any

import pytest
import pytest_asyncio

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.policy import v1_pb2 as policyv1

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = "application/json"
START = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
METADATA = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
DEFAULT = "/api/v1/namespaces/default"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(door: Any) -> Any:
    return door.connect("system:kube-controller-manager")


async def test_the_garbage_collector_watches_the_metadata_of_all_there_is(manager: Any) -> None:
    """It finds out by discovery what can be deleted, listed and watched."""
    paths = []
    for root in ("/api", "/apis"):
        found = (await manager.ask("GET", root, accept=AGGREGATED)).json_of_discovery
        for group in found["items"]:
            for version in group["versions"]:
                base = f"/apis/{group['metadata']['name']}" if root == "/apis" else "/api"
                for resource in version["resources"]:
                    if {"delete", "list", "watch"} <= set(resource["verbs"]):
                        paths.append(f"{base}/{version['version']}/{resource['resource']}")
    assert len(paths) > 50
    for path in paths:
        listed = (await manager.ask("GET", f"{path}?limit=500&resourceVersion=0", accept=METADATA)).ok
        assert isinstance(listed, metav1.PartialObjectMetadataList), path


async def test_a_metadata_informer(manager: Any) -> None:
    await manager.post(f"{DEFAULT}/configmaps", corev1.ConfigMap(metadata=metav1.ObjectMeta(name="a"), data={"k": "v"}))
    listed = (await manager.ask("GET", f"{DEFAULT}/configmaps", accept=METADATA)).ok
    owner = listed.items[0].metadata
    dependent = corev1.ConfigMap(metadata=metav1.ObjectMeta(name="b"))
    dependent.metadata.owner_references.add(api_version="v1", kind="ConfigMap", name="a", uid=owner.uid)
    await manager.post(f"{DEFAULT}/configmaps", dependent)
    background = metav1.DeleteOptions(propagation_policy="Background")
    background.preconditions.uid, background.preconditions.resource_version = owner.uid, owner.resource_version
    await manager.delete(f"{DEFAULT}/configmaps/a", background)
    orphaned = {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.uid}]}}
    left = await manager.patch(f"{DEFAULT}/configmaps/b", orphaned)
    assert not left.metadata.owner_references


async def test_foreground_deletion_waits_for_the_finalizer(manager: Any) -> None:
    path = f"{DEFAULT}/configmaps"
    await manager.post(path, corev1.ConfigMap(metadata=metav1.ObjectMeta(name="front")))
    await manager.delete(f"{path}/front", metav1.DeleteOptions(propagation_policy="Foreground"))
    held = await manager.get(f"{path}/front")
    assert list(held.metadata.finalizers) == ["foregroundDeletion"]
    held.metadata.finalizers.pop()
    await manager.put(f"{path}/front", held)
    assert (await manager.ask("GET", f"{path}/front")).refusal == (404, "NotFound")


async def test_a_namespace_is_finalized(manager: Any) -> None:
    await manager.post("/api/v1/namespaces", corev1.Namespace(metadata=metav1.ObjectMeta(name="short")))
    await manager.delete("/api/v1/namespaces/short")
    ending = await manager.get("/api/v1/namespaces/short")
    assert ending.status.phase == "Terminating"
    late = corev1.ConfigMap(metadata=metav1.ObjectMeta(name="late"))
    assert (await manager.ask("POST", "/api/v1/namespaces/short/configmaps", late)).refusal == (403, "Forbidden")
    del ending.spec.finalizers[:]
    await manager.put("/api/v1/namespaces/short/finalize", ending)
    assert (await manager.ask("GET", "/api/v1/namespaces/short")).refusal == (404, "NotFound")


async def test_the_status_of_a_budget_and_of_a_quota(manager: Any) -> None:
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = policyv1.PodDisruptionBudget(metadata=metav1.ObjectMeta(name="web"))
    budget.spec.selector.match_labels["app"] = "web"
    budget.spec.min_available.int_val = 1
    made = await manager.post(path, budget)
    made.status.disruptions_allowed, made.status.observed_generation = 2, made.metadata.generation
    made.status.disrupted_pods["web-0"].seconds = 1700000000
    written = await manager.put(f"{path}/web/status", made)
    assert (written.status.disruptions_allowed, list(written.status.disrupted_pods)) == (2, ["web-0"])
    quota = corev1.ResourceQuota(metadata=metav1.ObjectMeta(name="few"))
    quota.spec.hard["pods"].string = "1k"
    stored = await manager.post(f"{DEFAULT}/resourcequotas", quota)
    stored.status.hard["pods"].string, stored.status.used["pods"].string = "1k", "3"
    written = await manager.put(f"{DEFAULT}/resourcequotas/few/status", stored)
    assert written.status.used["pods"].string == "3"


async def test_a_workload_is_reconciled(manager: Any, scalable: Any, a_pod: Any) -> None:
    """A ReplicaSet makes a Pod that it controls, and reports; the autoscaler scales through `scale`."""
    path = "/apis/apps/v1/namespaces/default/replicasets"
    owner = await manager.post(path, scalable(path))
    pod = a_pod("")
    pod.metadata.generate_name = "sized-"
    pod.metadata.owner_references.add(
        api_version="apps/v1", kind="ReplicaSet", name="sized", uid=owner.metadata.uid, controller=True
    )
    made = await manager.post(f"{DEFAULT}/pods", pod)
    assert made.metadata.name.startswith("sized-")
    assert made.metadata.owner_references[0].controller
    owner.status.replicas, owner.status.observed_generation = 1, owner.metadata.generation
    written = await manager.put(f"{path}/sized/status", owner)
    assert written.status.replicas == 1
    assert written.metadata.generation == owner.metadata.generation
    scale = await manager.get(f"{path}/sized/scale")
    scale.spec.replicas = 2
    assert (await manager.put(f"{path}/sized/scale", scale)).spec.replicas == 2
    assert (await manager.get(f"{path}/sized")).metadata.generation == owner.metadata.generation + 1
    adopted = {"metadata": {"uid": "of-another", "labels": {"x": "y"}}}
    media = "application/strategic-merge-patch+json"
    wrong = await manager.ask("PATCH", f"{DEFAULT}/pods/{made.metadata.name}", adopted, media)
    assert wrong.refusal == (409, "Conflict")


async def test_tokens_of_its_loops(manager: Any, door: Any) -> None:
    """With `--use-service-account-credentials` each loop has an account, and a token that it asks for."""
    account = corev1.ServiceAccount(metadata=metav1.ObjectMeta(name="replicaset-controller"))
    await manager.post("/api/v1/namespaces/kube-system/serviceaccounts", account)
    path = "/api/v1/namespaces/kube-system/serviceaccounts/replicaset-controller/token"
    request = (await manager.ask("POST", path, {"spec": {"expirationSeconds": 3600}}, JSON)).json
    loop = door.with_token(request["status"]["token"])
    assert (await loop.get("/apis/apps/v1/replicasets?resourceVersion=0")) is not None
    assert (await loop.ask("GET", "/api/v1/secrets")).refusal == (403, "Forbidden")


async def test_the_issuer_of_tokens_is_discovered(manager: Any) -> None:
    known = (await manager.ask("GET", "/.well-known/openid-configuration", accept=JSON)).json
    assert known["jwks_uri"].endswith("/openid/v1/jwks")
    keys = await manager.ask("GET", "/openid/v1/jwks", accept="application/jwk-set+json")
    assert b'"keys"' in keys.body
    assert b'"d"' not in keys.body


async def test_legacy_discovery_in_protobuf(manager: Any) -> None:
    groups = await manager.get("/apis")
    assert isinstance(groups, metav1.APIGroupList)
    assert "apps" in [group.name for group in groups.groups]
    resources = await manager.get("/apis/apps/v1")
    assert {"deployments", "deployments/scale"} <= {one.name for one in resources.resources}
    assert (await manager.get("/api")).versions == ["v1"]
