"""Certificates: who a process is, and how it proves it.

One authority signs every component and user. Identity follows Kubernetes: the common name is the user, the
organisations are its groups. Keys are EC P-256: small, quick to make (a cluster makes a dozen at its start)
and understood by every TLS stack. Each certificate may act as a client; only those asked for may also serve.
"""

import ipaddress
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from navarch.services.base.credentials import Credentials as Credentials
from navarch.services.base.credentials import write_private as write_private

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
# Certificates are valid a little before they are made, for hosts whose clocks are behind.
CLOCK_SKEW = timedelta(minutes=5)
# Kubernetes' words (certificates/v1 KeyUsage), and those of X.509.
_KEY_USAGES = {
    "digital signature": "digital_signature",
    "signing": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
}
_EXTENDED_USAGES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}


class CertificateAuthority:
    """Signs certificates. Holds the cluster's most secret key."""

    def __init__(self, certificate: x509.Certificate, key: PrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, common_name: str, now: float) -> Self:
        """A new self-signed authority. now: unix seconds."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name, ())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(name, name, key.public_key(), now, CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, cert_pem: bytes, key_pem: bytes) -> Self:
        """An authority from its PEM: EC, or RSA as of kubeadm. Raises ValueError when they are no pair."""
        key = serialization.load_pem_private_key(key_pem, None)
        certificate = x509.load_pem_x509_certificate(cert_pem)
        if not isinstance(key, PrivateKey) or certificate.public_key() != key.public_key():
            raise ValueError("the key of the certificate authority does not belong to its certificate")
        return cls(certificate, key)

    @cached_property
    def cert_pem(self) -> bytes:
        """The certificate that everybody trusts."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The signing key, unencrypted."""
        return _key_pem(self._key)

    def issue(
        self,
        common_name: str,
        organizations: Iterable[str] = (),
        dns_names: Iterable[str] = (),
        ips: Iterable[str] = (),
        *,
        now: float,
        server: bool = False,
    ) -> Credentials:
        """A certificate for a user (client) or, with server, one that may also serve under the given names."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])]
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(dns_names)]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in dict.fromkeys(ips)]
        subject = _name(common_name, organizations)
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), now, LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credentials(self.cert_pem, certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def sign(self, request_pem: bytes, usages: Collection[str], lifetime_s: float, *, now: float) -> bytes:
        """The certificate that somebody asked for, PEM: with the subject and the names of the request.

        usages: in the words of Kubernetes ("client auth"). It ends after lifetime_s, or earlier with the authority.
        Raises ValueError for a request that cannot be read, and when the authority has ended.
        """
        request = x509.load_pem_x509_csr(request_pem)
        begin = datetime.fromtimestamp(now, UTC)
        end = min(begin + timedelta(seconds=lifetime_s), self._certificate.not_valid_after_utc)
        if end <= begin:
            raise ValueError(f"the certificate authority ended at {self._certificate.not_valid_after_utc}")
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin - CLOCK_SKEW)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        key_usages = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
        extended = [_EXTENDED_USAGES[usage] for usage in usages if usage in _EXTENDED_USAGES]
        if key_usages:
            every = {**dict.fromkeys(_KEY_USAGES.values(), False), "encipher_only": False, "decipher_only": False}
            usage = x509.KeyUsage(**every | dict.fromkeys(key_usages, True))
            builder = builder.add_extension(usage, critical=True)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if names := _names_of(request):
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def new_request(key_pem: bytes, common_name: str, organizations: Iterable[str], names: Iterable[str] = ()) -> bytes:
    """A request for a certificate, PEM. names: DNS names and IP addresses of a server."""
    key = serialization.load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a request is signed by an EC key")
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name, organizations))
    general = [_general_name(name) for name in names]
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def self_signed(common_name: str, names: Iterable[str], now: float) -> tuple[bytes, bytes]:
    """A server's certificate that nobody has vouched for, and its key, PEM each; for a year."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name, ())
    certificate = (
        _builder(subject, subject, key.public_key(), now, LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def names_of(cert_pem: bytes) -> set[str]:
    """The DNS names and addresses at which a certificate may serve."""
    try:
        found = x509.load_pem_x509_certificate(cert_pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(one.value) for one in found.value}


def new_key() -> bytes:
    """A new private key, PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def identity(cert_pem: bytes) -> tuple[str, tuple[str, ...]]:
    """Common name and organisations of a certificate. Parsing costs; callers keep the answer per certificate."""
    subject = x509.load_pem_x509_certificate(cert_pem).subject
    names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return (names[0] if names else "", groups)


def _name(common_name: str, organizations: Iterable[str]) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: float,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    begin = datetime.fromtimestamp(now, UTC) - CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
    )


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
