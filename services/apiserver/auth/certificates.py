"""Authentication by client certificate: common name is the user, organisations are the groups.

TLS has checked the certificate against the authority before a request gets here. Parsing one takes longer
than most requests, so the users of known certificates are remembered.
"""

from collections import OrderedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from navarch.services.api.errors import Unauthorized
from navarch.services.apiserver.auth.user import AUTHENTICATED, User
from navarch.services.base.tls import identity

REMEMBERED = 4096
# What a user is known by beside the name: which of the user's credentials was shown.
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class CertificateAuthenticator:
    """Turns PEM into users."""

    def __init__(self) -> None:
        self._users: OrderedDict[bytes, User] = OrderedDict()

    def user_of(self, pem: bytes) -> User:
        """The user of a verified certificate. Raises Unauthorized for one that names nobody."""
        user = self._users.get(pem)
        if user is None:
            user = self._users[pem] = self._parsed(pem)
            if len(self._users) > REMEMBERED:
                self._users.popitem(last=False)
        return user

    @staticmethod
    def _parsed(pem: bytes) -> User:
        try:
            name, groups = identity(pem)
        except ValueError as failure:
            raise Unauthorized from failure
        if not name:
            raise Unauthorized
        proof = f"X509SHA256={x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()}"
        return User(name, frozenset({*groups, AUTHENTICATED}), extra=((CREDENTIAL_ID, (proof,)),))
