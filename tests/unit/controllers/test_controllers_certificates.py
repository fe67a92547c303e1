"""Requests for certificates: what signers sign, what is approved without a human, and when requests go."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from navarch.services.base.tls import CA_LIFETIME, CertificateAuthority, new_key, new_request
from navarch.services.controller_manager.certificates.cleaning import remove_at
from navarch.services.controller_manager.certificates.rules import (
    API_CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY_UNKNOWN,
    Asked,
    Request,
    is_own_serving,
    permissions,
    refusal,
    wants_signature,
)
from navarch.services.controller_manager.certificates.signing import duration

NOW = 1_700_000_000.0
HOUR = 3600.0
NODE = "system:node:n1"
CLIENT = ("digital signature", "client auth")
SERVER = ("digital signature", "server auth")
ENCIPHER = "key encipherment"


def asked(
    name: str = NODE, groups: tuple[str, ...] = ("system:nodes",), names: tuple[str, ...] = ()
) -> tuple[bytes, Asked]:
    pem = new_request(new_key(), name, groups, names)
    return pem, Asked.read(pem)


def a_request(signer: str = KUBELET_CLIENT, usages: tuple[str, ...] = CLIENT, user: str = NODE, **what: Any) -> Request:
    request = Request()
    request.spec.request, _ = asked(**what)
    request.spec.signer_name, request.spec.username = signer, user
    request.spec.usages.extend(usages)
    request.spec.groups.append("system:nodes")
    request.metadata.creation_timestamp.seconds = int(NOW)
    return request


@pytest.mark.parametrize(
    ("signer", "usages", "what", "reason"),
    [
        (API_CLIENT, CLIENT, {"name": "jane", "groups": ("people",)}, ""),
        (API_CLIENT, ("client auth", ENCIPHER), {"name": "jane"}, ""),
        (API_CLIENT, ("digital signature",), {"name": "jane"}, "must include 'client auth'"),
        (API_CLIENT, (*CLIENT, "server auth"), {"name": "jane"}, "permitted are"),
        (API_CLIENT, CLIENT, {"name": "jane", "names": ("jane.example",)}, ""),
        (KUBELET_CLIENT, CLIENT, {}, ""),
        (KUBELET_CLIENT, (*CLIENT, ENCIPHER), {}, ""),
        (KUBELET_CLIENT, (*CLIENT, "server auth"), {}, "usages must be"),
        (KUBELET_CLIENT, ("client auth",), {}, "usages must be"),
        (KUBELET_CLIENT, CLIENT, {"names": ("n1",)}, "subjectAltName is not permitted"),
        (KUBELET_CLIENT, CLIENT, {"groups": ("system:masters",)}, "exactly system:nodes"),
        (KUBELET_CLIENT, CLIENT, {"groups": ("system:nodes", "system:masters")}, "exactly system:nodes"),
        (KUBELET_CLIENT, CLIENT, {"name": "n1"}, "common name"),
        (KUBELET_CLIENT, CLIENT, {"name": "system:node:"}, "common name"),
        (KUBELET_SERVING, SERVER, {"names": ("n1",)}, ""),
        (KUBELET_SERVING, (*SERVER, ENCIPHER), {"names": ("10.0.0.1",)}, ""),
        (KUBELET_SERVING, SERVER, {}, "subjectAltName must hold"),
        (KUBELET_SERVING, CLIENT, {"names": ("n1",)}, "usages must be"),
        (KUBELET_SERVING, SERVER, {"names": ("n1",), "groups": ()}, "exactly system:nodes"),
        (LEGACY_UNKNOWN, ("any",), {"name": "anybody", "groups": ()}, ""),
    ],
)
def test_what_signers_refuse(signer: str, usages: tuple[str, ...], what: Any, reason: str) -> None:
    _, found = asked(**what)
    answer = refusal(signer, found, usages)
    assert reason in answer
    assert bool(answer) == bool(reason)


def test_names_of_other_kinds_are_no_serving_names() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("n1"), x509.UniformResourceIdentifier("spiffe://n1")])
    subject = x509.load_pem_x509_csr(asked()[0]).subject
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    assert "nothing else" in refusal(KUBELET_SERVING, Asked.read(pem), SERVER)


def test_two_common_names_are_none() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes")]
    names += [x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}") for node in ("n1", "n2")]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    assert "common name" in refusal(KUBELET_CLIENT, Asked.read(pem), CLIENT)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(a_request(), ["selfnodeclient", "nodeclient"], id="a node renews its own"),
        pytest.param(a_request(user="system:bootstrap:abcdef"), ["nodeclient"], id="a bootstrap"),
        pytest.param(a_request(user="system:node:n2"), ["nodeclient"], id="another node's"),
        pytest.param(a_request(signer=API_CLIENT), [], id="another signer"),
        pytest.param(a_request(signer=KUBELET_SERVING, usages=SERVER, names=("n1",)), [], id="serving"),
        pytest.param(a_request(groups=("system:masters",)), [], id="no node"),
        pytest.param(a_request(usages=(*CLIENT, "server auth")), [], id="more usages"),
    ],
)
def test_who_has_to_be_allowed_what(request_: Request, expected: list[str]) -> None:
    assert permissions(request_, Asked.read(request_.spec.request)) == expected


@pytest.mark.parametrize(
    ("names", "user", "expected"),
    [
        (("n1", "10.0.0.1"), NODE, True),
        (("10.0.0.1",), NODE, True),
        (("n1", "10.0.0.9"), NODE, False),
        (("n1",), "system:node:n2", False),
        (("kubernetes.default",), NODE, False),
    ],
)
def test_a_node_serves_under_its_own_addresses(names: tuple[str, ...], user: str, expected: bool) -> None:
    request = a_request(KUBELET_SERVING, SERVER, user, names=names)
    assert is_own_serving(request, Asked.read(request.spec.request), ["n1", "10.0.0.1"]) is expected


def test_only_what_was_approved_is_signed() -> None:
    request = a_request()
    assert not wants_signature(request)
    request.status.conditions.add(type="Approved", status="True")
    assert wants_signature(request)
    for spoiled in ("Denied", "Failed"):
        other = Request()
        other.CopyFrom(request)
        other.status.conditions.add(type=spoiled, status="True")
        assert not wants_signature(other)
    foreign = Request()
    foreign.CopyFrom(request)
    foreign.spec.signer_name = "example.com/signer"
    assert not wants_signature(foreign)
    request.status.certificate = b"x"
    assert not wants_signature(request)


@pytest.mark.parametrize(
    ("seconds", "limit_s", "expected"),
    [(None, HOUR, HOUR), (1800, HOUR, 1800), (7200, HOUR, HOUR), (10, HOUR, 600), (10, 60.0, 60.0)],
)
def test_how_long_it_is_valid(seconds: int | None, limit_s: float, expected: float) -> None:
    request = a_request()
    if seconds is not None:
        request.spec.expiration_seconds = seconds
    assert duration(request, limit_s) == expected


def test_a_certificate_is_what_was_asked_for_and_no_more() -> None:
    authority = CertificateAuthority.create("ca", NOW)
    pem = authority.sign(asked(names=("n1", "10.0.0.1"))[0], SERVER, 2 * CA_LIFETIME.total_seconds(), now=NOW)
    made = x509.load_pem_x509_certificate(pem)
    own = x509.load_pem_x509_certificate(authority.cert_pem)
    made.verify_directly_issued_by(own)
    assert made.not_valid_after_utc == own.not_valid_after_utc
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    with pytest.raises(ValueError, match="authority ended"):
        authority.sign(asked()[0], CLIENT, HOUR, now=NOW + CA_LIFETIME.total_seconds())


def test_an_authority_of_kubeadm_signs_too() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    begin = datetime.fromtimestamp(NOW, UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
    own = made.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    authority = CertificateAuthority.load(own.public_bytes(pem), key_pem)
    signed = x509.load_pem_x509_certificate(authority.sign(asked()[0], CLIENT, HOUR, now=NOW))
    signed.verify_directly_issued_by(own)


def decided(kind: str, certificate: bytes = b"") -> Request:
    request = a_request()
    request.status.conditions.add(type=kind, status="True").last_update_time.seconds = int(NOW) + 100
    request.status.certificate = certificate
    return request


SHORT = CertificateAuthority.create("ca", NOW).sign(asked()[0], CLIENT, 700, now=NOW)
LONG = CertificateAuthority.create("ca", NOW).sign(asked()[0], CLIENT, 24 * HOUR, now=NOW)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(a_request(), NOW + 24 * HOUR, id="pending"),
        pytest.param(decided("Approved"), None, id="approved, not signed"),
        pytest.param(decided("Approved", LONG), NOW + 100 + HOUR, id="signed"),
        pytest.param(decided("Approved", SHORT), NOW + 700, id="signed for less than an hour"),
        pytest.param(decided("Approved", b"?"), NOW + 100 + HOUR, id="an answer of another make"),
        pytest.param(decided("Denied"), NOW + 100 + HOUR, id="denied"),
        pytest.param(decided("Failed"), NOW + 100 + HOUR, id="failed"),
    ],
)
def test_when_a_request_is_removed(request_: Request, expected: float | None) -> None:
    assert remove_at(request_) == expected
