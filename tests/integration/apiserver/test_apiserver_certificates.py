"""Requests for certificates through the server: who asks, who decides, who answers; and other kinds' strictness."""

import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
from navarch.protos.k8s.rbac import v1_pb2 as rbacv1
from navarch.protos.k8s.resource import v1_pb2 as resourcev1
from navarch.services.api import errors
from navarch.services.client.client import Client

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def request(name: str, signer: str = "example.com/signer", organization: str = "people") -> Any:
    made = certificatesv1.CertificateSigningRequest()
    made.metadata.name = name
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    made.spec.request = csr.public_bytes(serialization.Encoding.PEM)
    made.spec.signer_name = signer
    made.spec.usages.append("client auth")
    made.spec.username, made.spec.groups[:] = "somebody else", ["system:masters"]
    return made


async def test_the_server_writes_down_who_asks(client: Client) -> None:
    made = await client.create(request("mine"))
    assert made.spec.username == "kubernetes-admin"
    assert "system:masters" in made.spec.groups
    assert "system:authenticated" in made.spec.groups


async def test_trust_bundles_are_found_by_their_signer(cluster: Any, authority: Any) -> None:
    client: Client = cluster.client
    for name, signer in (("plain", ""), ("example.com:a:web", "example.com/a")):
        bundle = certificatesv1beta1.ClusterTrustBundle()
        bundle.metadata.name, bundle.spec.signer_name = name, signer
        bundle.spec.trust_bundle = authority.cert_pem.decode()
        await client.create(bundle)
    found = await client.list(certificatesv1beta1.ClusterTrustBundle, field_selector="spec.signerName=example.com/a")
    assert [one.metadata.name for one in found.items] == ["example.com:a:web"]
    node = Client.connect(cluster.address, cluster.credentials("system:node:n1", "system:nodes"))
    assert len((await node.list(certificatesv1beta1.ClusterTrustBundle)).items) == 2
    with pytest.raises(errors.Forbidden):
        await node.create(bundle)
    await node.close()


async def test_a_request_is_decided_and_then_answered(cluster: Any, authority: Any) -> None:
    client: Client = cluster.client
    made = await client.create(request("mine"))
    made.status.conditions.add(type="Approved", status="True", reason="ByMe")
    made.status.certificate = b"too early"
    before = time.time()
    approved = await client.update(made, subresource="approval")
    (condition,) = approved.status.conditions
    assert condition.last_update_time.seconds >= int(before)
    assert condition.last_transition_time.seconds == condition.last_update_time.seconds
    assert not approved.status.certificate

    answered = approved.__class__()
    answered.CopyFrom(approved)
    answered.status.certificate = authority.cert_pem
    signed = await client.update(answered, subresource="status")
    assert signed.status.certificate == authority.cert_pem
    assert signed.status.conditions[0].last_transition_time == condition.last_transition_time

    signed.status.ClearField("conditions")
    signed.status.conditions.add(type="Denied", status="True")
    with pytest.raises(errors.Invalid, match='may not remove a condition of type "Approved"'):
        await client.update(signed, subresource="approval")


async def test_nobody_asks_to_be_a_master(client: Client) -> None:
    with pytest.raises(errors.Forbidden, match="signer with system:masters group is not allowed"):
        await client.create(request("root", CLIENT_SIGNER, "system:masters"))
    assert await client.create(request("people", CLIENT_SIGNER))


async def test_a_binding_keeps_its_role(client: Client) -> None:
    made = rbacv1.ClusterRoleBinding()
    made.metadata.name = "system:somebody"
    made.role_ref.kind, made.role_ref.name = "ClusterRole", "view"
    stored = await client.create(made)
    assert stored.role_ref.api_group == "rbac.authorization.k8s.io"
    stored.role_ref.name = "admin"
    with pytest.raises(errors.Invalid, match="cannot change roleRef"):
        await client.update(stored)


async def test_taints_of_devices_are_dated(client: Client) -> None:
    made = resourcev1.ResourceSlice()
    made.metadata.name, made.spec.driver = "slice", "d"
    made.spec.devices.add(name="a").taints.add(key="k", effect="NoSchedule")
    stored = await client.create(made)
    dated = stored.spec.devices[0].taints[0].time_added.seconds
    assert dated
    stored.spec.devices[0].taints.add(key="l", effect="NoSchedule")
    changed = await client.update(stored)
    first, second = changed.spec.devices[0].taints
    assert first.time_added.seconds == dated
    assert second.time_added.seconds >= dated
