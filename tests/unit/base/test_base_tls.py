import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from navarch.services.base.tls import CertificateAuthority, Credentials, identity, write_private

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("navarch", NOW)


def leaf(credentials: Credentials) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credentials.cert)


def test_identity_is_user_and_groups(ca: CertificateAuthority) -> None:
    credentials = ca.issue("system:node:a", ["system:nodes", "more"], now=NOW)
    assert identity(credentials.cert) == ("system:node:a", ("system:nodes", "more"))
    assert identity(ca.cert_pem) == ("navarch", ())


def test_a_server_is_known_by_its_names(ca: CertificateAuthority) -> None:
    credentials = ca.issue("kube-apiserver", dns_names=["kubernetes"], ips=["127.0.0.1", "::1"], now=NOW, server=True)
    names = leaf(credentials).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]


@pytest.mark.parametrize(("server", "usages"), [(False, 1), (True, 2)], ids=["client", "server"])
def test_only_servers_may_serve(ca: CertificateAuthority, server: bool, usages: int) -> None:
    certificate = leaf(ca.issue("x", now=NOW, server=server))
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(usage) == usages
    assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_certificates_verify_against_their_authority_only(ca: CertificateAuthority) -> None:
    certificate = leaf(ca.issue("user", dns_names=["user.test"], now=NOW))
    other = CertificateAuthority.create("navarch", NOW)
    for authority, trusted in ((ca, True), (other, False)):
        root = x509.load_pem_x509_certificate(authority.cert_pem)
        moment = certificate.not_valid_before_utc
        verifier = PolicyBuilder().store(Store([root])).time(moment).build_client_verifier()
        if trusted:
            verifier.verify(certificate, [])
        else:
            with pytest.raises(VerificationError):
                verifier.verify(certificate, [])


def test_a_certificate_is_valid_a_little_before_it_was_made(ca: CertificateAuthority) -> None:
    certificate = leaf(ca.issue("user", now=NOW))
    assert certificate.not_valid_before_utc.timestamp() == NOW - 300
    assert certificate.not_valid_after_utc.timestamp() == NOW - 300 + 365 * 86400


def test_an_authority_survives_its_files(ca: CertificateAuthority) -> None:
    again = CertificateAuthority.load(ca.cert_pem, ca.key_pem)
    leaf(again.issue("user", now=NOW)).verify_directly_issued_by(x509.load_pem_x509_certificate(ca.cert_pem))


def test_a_key_of_another_authority_is_refused(ca: CertificateAuthority) -> None:
    other = CertificateAuthority.create("navarch", NOW)
    with pytest.raises(ValueError, match="does not belong"):
        CertificateAuthority.load(ca.cert_pem, other.key_pem)


def test_credentials_survive_their_files_and_keys_are_private(ca: CertificateAuthority, tmp_path: Path) -> None:
    credentials = ca.issue("user", now=NOW)
    files = (tmp_path / "ca.crt", tmp_path / "user.crt", tmp_path / "user.key")
    credentials.save(*files)
    assert Credentials.load(*files) == credentials
    assert stat.S_IMODE(files[2].stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(credentials)


def test_a_private_file_replaces_a_readable_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
