"""Who is at the other end of a connection, by the certificate it showed."""

import ssl

from aiohttp import web

from navarch.services.api.errors import Unauthorized
from navarch.services.apiserver.auth.certificates import CertificateAuthenticator
from navarch.services.apiserver.auth.user import User


class RestCertificates:
    """Authenticates by client certificate."""

    def __init__(self, certificates: CertificateAuthenticator) -> None:
        self._certificates = certificates

    async def authenticate(self, request: web.BaseRequest) -> User:
        """The user of the connection's certificate. Raises Unauthorized."""
        tls = request.get_extra_info("ssl_object")
        der = None if tls is None else tls.getpeercert(binary_form=True)
        if der is None:
            raise Unauthorized
        return self._certificates.user_of(ssl.DER_cert_to_PEM_cert(der).encode())
