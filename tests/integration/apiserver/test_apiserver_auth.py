"""Who may do what, and how refusals and bad requests look at the door."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.api import errors, rpc_status
from navarch.services.base.serving import channel
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client

CONFIG_MAPS = objects_pb2.Resource(version="v1", resource="configmaps")


def config_map(name: str, size_bytes: int = 0) -> corev1.ConfigMap:
    made = corev1.ConfigMap(data={"k": "x" * size_bytes})
    made.metadata.name, made.metadata.namespace = name, "default"
    return made


async def test_a_stranger_is_refused_in_kubernetes_words(cluster: Any) -> None:
    stranger = cluster.connect("jane", "developers")
    with pytest.raises(errors.Forbidden) as refused:
        await stranger.list(corev1.Pod, "default")
    assert refused.value.message == (
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert refused.value.code == 403
    with pytest.raises(errors.Forbidden, match='cannot list resource "nodes" in API group "" at the cluster scope'):
        await stranger.list(corev1.Node)
    with pytest.raises(errors.Forbidden):
        async for _ in stranger.watch(corev1.Pod):
            pass


def nameless(authority: CertificateAuthority) -> Credentials:
    """A good certificate of the authority whose subject has no common name."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem)
    signer: Any = serialization.load_pem_private_key(authority.key_pem, None)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Credentials(authority.cert_pem, certificate.public_bytes(pem), key_pem)


async def test_a_nameless_certificate_is_unauthenticated(cluster: Any) -> None:
    async with channel(cluster.address, nameless(cluster.authority)) as nobody:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await objects_pb2_grpc.ObjectsStub(nobody).Get(objects_pb2.GetRequest(resource=CONFIG_MAPS, name="a"))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert rpc_status.from_rpc(refused.value).reason == "Unauthorized"


async def test_without_a_certificate_one_is_anonymous(cluster: Any) -> None:
    credentials = grpc.ssl_channel_credentials(cluster.authority.cert_pem)
    async with grpc.aio.secure_channel(cluster.address, credentials) as nobody:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await objects_pb2_grpc.ObjectsStub(nobody).List(objects_pb2.ListRequest(resource=CONFIG_MAPS))
    assert 'User "system:anonymous" cannot list' in rpc_status.from_rpc(refused.value).message


async def test_a_certificate_of_another_authority_is_no_connection(cluster: Any) -> None:
    stranger = CertificateAuthority.create("stranger", time.time()).issue("jane", ["system:masters"], now=time.time())
    async with channel(cluster.address, Credentials(cluster.authority.cert_pem, stranger.cert, stranger.key)) as jane:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await objects_pb2_grpc.ObjectsStub(jane).Get(objects_pb2.GetRequest(resource=CONFIG_MAPS, name="a"))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_components_may_do_their_work_and_no_more(cluster: Any) -> None:
    admin: Client = cluster.client
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = "web", "default"
    pod.spec.containers.add(name="main", image="example.org/image:1")
    await admin.create(pod)
    scheduler = cluster.connect("system:kube-scheduler")
    await scheduler.bind("default", "web", "n1")
    with pytest.raises(errors.Forbidden):
        await scheduler.create(config_map("a"))
    kubelet = cluster.connect("system:node:n1", "system:nodes")
    patch = {"status": {"phase": "Running"}}
    assert (await kubelet.patch(corev1.Pod, "web", "default", patch, "merge", subresource="status")).status.phase
    with pytest.raises(errors.Forbidden):
        await kubelet.create(config_map("a"))
    node = corev1.Node()
    for name in ("n1", "n2"):
        node.metadata.name = name
        await admin.create(node)
    await kubelet.patch(corev1.Node, "n1", "", {"metadata": {"labels": {"a": "b"}}}, "merge")
    with pytest.raises(errors.Forbidden, match='nodes "n2" is forbidden'):
        await kubelet.patch(corev1.Node, "n2", "", {"metadata": {"labels": {"a": "b"}}}, "merge")
    manager = cluster.connect("system:kube-controller-manager")
    assert (await manager.create(config_map("a"))).metadata.uid


def refused_requests() -> list[Any]:
    create = objects_pb2.CreateRequest(resource=CONFIG_MAPS, namespace="default")
    wrong_type = objects_pb2.CreateRequest()
    wrong_type.CopyFrom(create)
    wrong_type.object.Pack(corev1.Pod())
    unknown_type = objects_pb2.CreateRequest()
    unknown_type.CopyFrom(create)
    unknown_type.object.type_url = "type.googleapis.com/no.such.Type"
    garbage = objects_pb2.CreateRequest()
    garbage.CopyFrom(create)
    garbage.object.type_url, garbage.object.value = "type.googleapis.com/k8s.io.api.core.v1.ConfigMap", b"\xff\xff"
    other_namespace = objects_pb2.CreateRequest(resource=CONFIG_MAPS, namespace="kube-system")
    other_namespace.object.Pack(config_map("a"))
    get = objects_pb2.GetRequest
    strange = objects_pb2.Resource(version="v1", resource="wishes")
    nodes = objects_pb2.Resource(version="v1", resource="nodes")
    cases: list[tuple[str, str, Any, type[errors.ApiError], str]] = [
        ("no object", "Create", create, errors.BadRequest, "the request holds no object"),
        ("wrong type", "Create", wrong_type, errors.BadRequest, "holds a k8s.io.api.core.v1.Pod"),
        ("unknown type", "Create", unknown_type, errors.BadRequest, "no.such.Type"),
        ("undecodable object", "Create", garbage, errors.BadRequest, "cannot be decoded"),
        ("namespaces disagree", "Create", other_namespace, errors.BadRequest, "does not match the namespace"),
        ("unknown resource", "Get", get(resource=strange, name="a"), errors.NotFound, "could not find the requested"),
        ("no name", "Get", get(resource=CONFIG_MAPS, namespace="default"), errors.BadRequest, "name may not be empty"),
        ("no namespace", "Get", get(resource=CONFIG_MAPS, name="a"), errors.BadRequest, "namespace may not be"),
        (
            "cluster scope",
            "Get",
            get(resource=nodes, namespace="default", name="a"),
            errors.BadRequest,
            "not namespaced",
        ),
        (
            "path in name",
            "Get",
            get(resource=CONFIG_MAPS, namespace="default", name="../b"),
            errors.BadRequest,
            "invalid resource name",
        ),
        (
            "no such part",
            "Get",
            get(resource=CONFIG_MAPS, namespace="default", name="a", subresource="scale"),
            errors.NotFound,
            "could not find",
        ),
        (
            "patch without type",
            "Patch",
            objects_pb2.PatchRequest(resource=CONFIG_MAPS, namespace="default", name="a"),
            errors.BadRequest,
            "no type",
        ),
    ]
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


@pytest.mark.parametrize(("method", "request_", "refusal", "message"), refused_requests())
async def test_bad_requests(
    cluster: Any, method: str, request_: Any, refusal: type[errors.ApiError], message: str
) -> None:
    stub: Any = objects_pb2_grpc.ObjectsStub(cluster.client.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(stub, method)(request_)
    failure = rpc_status.from_rpc(refused.value)
    assert isinstance(failure, refusal)
    assert re.search(message, failure.message)


async def test_undecodable_requests_are_bad_requests(cluster: Any) -> None:
    call = cluster.client.channel.unary_unary("/navarch.v1.Objects/Get")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"\xff\xff\xff")
    assert isinstance(rpc_status.from_rpc(refused.value), errors.BadRequest)


@pytest.mark.parametrize(
    ("size_bytes", "message"),
    [
        pytest.param(3 << 20, "limit is 3145728", id="more than a request may hold"),
    ],
)
async def test_too_large_requests(client: Client, size_bytes: int, message: str) -> None:
    with pytest.raises(errors.RequestEntityTooLarge, match=message):
        await client.create(config_map("a", size_bytes))


async def test_larger_than_the_store_takes(client: Client) -> None:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = "web", "default"
    container = pod.spec.containers.add(name="main", image="example.org/image:1")
    container.args.append("x" * (2 << 20))
    with pytest.raises(errors.RequestEntityTooLarge, match="etcdserver: request is too large"):
        await client.create(pod)
