"""A client that sends and accepts nothing but protobuf gets along with every kind."""

import base64
from typing import Any

import pytest

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.policy import v1_pb2 as policyv1

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHOSEN = "labelSelector=round%3Dwire"
DEFAULT = "/api/v1/namespaces/default"


async def test_the_life_of_every_kind(admin: Any, manifest: Any) -> None:
    """Create, get, list, watch, update, patch, delete: what the watch shows is what the verbs answered."""
    message = manifest.message
    message.metadata.labels["round"] = "wire"
    made = await admin.post(manifest.collection, message)
    listed = await admin.get(f"{manifest.collection}?{CHOSEN}")
    assert type(listed).__name__ == f"{manifest.kind.kind}List"
    assert [one.metadata.name for one in listed.items] == [manifest.name]
    after = listed.metadata.resource_version
    async with admin.watch(f"{manifest.collection}?watch=true&{CHOSEN}&resourceVersion={after}") as events:
        read = await admin.get(manifest.path)
        assert type(read) is type(made)
        read.metadata.annotations["by"] = "update"
        read.metadata.resource_version = ""
        if (put := await admin.ask("PUT", manifest.path, read)).status == 422:
            # Kinds that insist on it; and the server may have written its status meanwhile.
            read.metadata.resource_version = (await admin.get(manifest.path)).metadata.resource_version
            put = await admin.ask("PUT", manifest.path, read)
        assert put.ok.metadata.annotations["by"] == "update"
        patched = await admin.patch(manifest.path, {"metadata": {"annotations": {"by": "patch"}}}, "merge-patch+json")
        assert patched.metadata.annotations["by"] == "patch"
        await admin.delete(manifest.path, metav1.DeleteOptions(grace_period_seconds=0))
        if manifest.kind.kind == "Namespace":
            # Stays until its finalizer is taken off.
            gone = await admin.get(manifest.path)
            del gone.spec.finalizers[:]
            await admin.put(f"{manifest.path}/finalize", gone)
        seen = list(await events.until("DELETED"))
    assert seen[-1][1].metadata.name == manifest.name
    assert [one.metadata.annotations["by"] for kind, one in seen if kind == "MODIFIED"][:1] != []
    assert (await admin.ask("GET", manifest.path)).refusal == (404, "NotFound")


async def test_whole_collections_are_deleted(admin: Any, manifest: Any) -> None:
    if "deletecollection" not in manifest.kind.verbs:
        answer = await admin.ask("DELETE", f"{manifest.collection}?{CHOSEN}", metav1.DeleteOptions())
        assert answer.refusal == (405, "MethodNotAllowed")
        return
    message = manifest.message
    message.metadata.labels["round"] = "wire"
    made = await admin.post(manifest.collection, message)
    options = metav1.DeleteOptions(propagation_policy="Background", grace_period_seconds=0)
    removed = await admin.delete(f"{manifest.collection}?{CHOSEN}", options)
    assert [one.metadata.uid for one in removed.items] == [made.metadata.uid]
    # A definition goes with the last of its objects.
    while (await admin.get(f"{manifest.collection}?{CHOSEN}")).items:
        assert manifest.kind.kind == "CustomResourceDefinition"


async def test_refusals_are_statuses_in_protobuf(admin: Any) -> None:
    nameless = corev1.ConfigMap()
    named = corev1.ConfigMap(metadata=metav1.ObjectMeta(name="twice"))
    await admin.post(f"{DEFAULT}/configmaps", named)
    assert (await admin.ask("POST", f"{DEFAULT}/configmaps", named)).refusal == (409, "AlreadyExists")
    invalid = await admin.ask("POST", f"{DEFAULT}/configmaps", nameless)
    assert invalid.refusal == (422, "Invalid")
    assert [cause.field for cause in invalid.message.details.causes] == ["metadata.name"]
    named.metadata.resource_version = "1"
    assert (await admin.ask("PUT", f"{DEFAULT}/configmaps/twice", named)).refusal == (409, "Conflict")
    stale = metav1.DeleteOptions(preconditions=metav1.Preconditions(uid="another"))
    assert (await admin.ask("DELETE", f"{DEFAULT}/configmaps/twice", stale)).refusal == (409, "Conflict")
    assert (await admin.ask("POST", f"{DEFAULT}/configmaps", b"k8s\0\xff")).refusal == (400, "BadRequest")
    assert (await admin.ask("GET", "/apis/apps/v1/nothing")).status == 404
    other = await admin.ask("POST", f"{DEFAULT}/configmaps", corev1.Secret())
    assert other.refusal == (400, "BadRequest")
    assert (await admin.ask("POST", f"{DEFAULT}/configmaps", b"{}", "text/plain", "*/*")).status == 415


async def test_dry_run_in_a_body_of_options(admin: Any) -> None:
    named = corev1.ConfigMap(metadata=metav1.ObjectMeta(name="stays"))
    await admin.post(f"{DEFAULT}/configmaps", named)
    await admin.delete(f"{DEFAULT}/configmaps/stays", metav1.DeleteOptions(dry_run=["All"]))
    assert (await admin.get(f"{DEFAULT}/configmaps/stays")).metadata.name == "stays"


async def test_status_is_written_apart_from_the_rest(admin: Any, manifest: Any) -> None:
    """Through `status` only the status changes: labels sent with it do not."""
    part = manifest.kind.subresource("status")
    if part is None:
        assert (await admin.ask("GET", f"{manifest.path}/status")).status == 404
        return
    await admin.post(manifest.collection, manifest.message)
    patched = await admin.patch(
        f"{manifest.path}/status", {"metadata": {"annotations": {"seen": "yes"}}}, "merge-patch+json"
    )
    assert type(patched) is manifest.kind.message
    found = await admin.get(f"{manifest.path}/status")
    found.spec.Clear() if hasattr(found, "spec") else None
    put = await admin.ask("PUT", f"{manifest.path}/status", found)
    while put.status == 409:
        put = await admin.ask("PUT", f"{manifest.path}/status", await admin.get(f"{manifest.path}/status"))
    assert put.ok.spec == (await admin.get(manifest.path)).spec
    await admin.delete(manifest.path, metav1.DeleteOptions(grace_period_seconds=0))


@pytest.mark.parametrize(
    "path", [f"{DEFAULT}/replicationcontrollers", *(f"/apis/apps/v1/namespaces/default/{k}" for k in
             ("deployments", "replicasets", "statefulsets"))]
)  # fmt: skip
async def test_scale(admin: Any, path: str, scalable: Any) -> None:
    await admin.post(path, scalable(path))
    scale = await admin.get(f"{path}/sized/scale")
    assert isinstance(scale, autoscalingv1.Scale)
    assert scale.spec.replicas == 1
    assert scale.status.selector == "app=web"
    scale.spec.replicas = 0
    changed = await admin.put(f"{path}/sized/scale", scale)
    assert (changed.spec.replicas, isinstance(changed, autoscalingv1.Scale)) == (0, True)
    patched = await admin.patch(f"{path}/sized/scale", {"spec": {"replicas": 3}}, "merge-patch+json")
    assert patched.spec.replicas == 3
    assert (await admin.get(f"{path}/sized")).spec.replicas == 3


async def test_binding_and_eviction(admin: Any, a_pod: Any) -> None:
    await admin.post(f"{DEFAULT}/pods", a_pod("bound"))
    target = corev1.ObjectReference(kind="Node", name="n1")
    binding = corev1.Binding(metadata=metav1.ObjectMeta(name="bound"), target=target)
    done = await admin.post(f"{DEFAULT}/pods/bound/binding", binding)
    assert isinstance(done, metav1.Status)
    assert done.status == "Success"
    assert (await admin.get(f"{DEFAULT}/pods/bound")).spec.node_name == "n1"
    again = await admin.ask("POST", f"{DEFAULT}/pods/bound/binding", binding)
    assert again.refusal == (409, "Conflict")
    eviction = policyv1.Eviction(metadata=metav1.ObjectMeta(name="bound"))
    eviction.delete_options.grace_period_seconds = 0
    done = await admin.post(f"{DEFAULT}/pods/bound/eviction", eviction)
    assert isinstance(done, metav1.Status)
    assert done.status == "Success"
    assert (await admin.ask("GET", f"{DEFAULT}/pods/bound")).status == 404


async def test_a_token_for_a_service_account(admin: Any, door: Any) -> None:
    await admin.post(f"{DEFAULT}/serviceaccounts", corev1.ServiceAccount(metadata=metav1.ObjectMeta(name="robot")))
    request = authenticationv1.TokenRequest()
    request.spec.expiration_seconds = 600
    answer = await admin.post(f"{DEFAULT}/serviceaccounts/robot/token", request)
    assert answer.status.expiration_timestamp.seconds > 0
    robot = door.with_token(answer.status.token)
    who = await robot.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", authenticationv1.SelfSubjectReview())
    assert who.status.user_info.username == "system:serviceaccount:default:robot"


async def test_approval_of_a_request(admin: Any, sign: Any) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    asked = certificatesv1.CertificateSigningRequest(metadata=metav1.ObjectMeta(name="mine"))
    asked.spec.request, asked.spec.signer_name = sign("someone"), "example.org/signer"
    asked.spec.usages.append("client auth")
    made = await admin.post(path, asked)
    made.status.conditions.add(type="Approved", status="True", reason="Known")
    approved = await admin.put(f"{path}/mine/approval", made)
    assert [condition.type for condition in approved.status.conditions] == ["Approved"]
    assert base64.b64encode(approved.spec.request) == base64.b64encode(asked.spec.request)
