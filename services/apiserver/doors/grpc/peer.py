"""Who is at the other end of a call."""

from typing import Any

import grpc

from navarch.services.api.errors import Unauthorized
from navarch.services.apiserver.auth.certificates import CertificateAuthenticator
from navarch.services.apiserver.auth.user import User

CERTIFICATE = "x509_pem_cert"


def user_of(authenticator: CertificateAuthenticator, context: grpc.aio.ServicerContext[Any, Any]) -> User:
    """The caller. Raises Unauthorized when it showed no certificate."""
    for certificate in context.auth_context().get(CERTIFICATE, ()):
        return authenticator.user_of(certificate)
    raise Unauthorized
