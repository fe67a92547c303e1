"""Authentication by client certificate: common name is the user, organisations are the groups.

TLS has checked the certificate against the authority when the connection was made; a connection may outlive its
certificate, so the end of that one is looked at with each request. Parsing takes longer than most requests, so what
certificates say is remembered.
"""

from collections import OrderedDict
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from navarch.services.api.errors import Unauthorized
from navarch.services.apiserver.auth.user import AUTHENTICATED, User
from navarch.services.base.clock import Clock
from navarch.services.base.tls import identity

REMEMBERED = 4096
# What a user is known by beside the name: which of the user's credentials was shown.
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a certificate says. until: unix seconds."""

    user: User
    until: float


class CertificateAuthenticator:
    """Reads certificates that TLS has verified."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, Shown] = OrderedDict()

    def read(self, pem: bytes) -> Shown:
        """What a certificate says. Raises Unauthorized for one that names nobody."""
        shown = self._known.get(pem)
        if shown is None:
            shown = self._known[pem] = _parsed(pem)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return shown

    def user_of(self, shown: Shown) -> User:
        """The user, as long as the certificate is valid. Raises Unauthorized."""
        if self._clock.now() > shown.until:
            raise Unauthorized
        return shown.user


def _parsed(pem: bytes) -> Shown:
    try:
        name, groups = identity(pem)
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as failure:
        raise Unauthorized from failure
    if not name:
        raise Unauthorized
    proof = f"X509SHA256={certificate.fingerprint(hashes.SHA256()).hex()}"
    user = User(name, frozenset({*groups, AUTHENTICATED}), extra=((CREDENTIAL_ID, (proof,)),))
    return Shown(user, certificate.not_valid_after_utc.timestamp())
