"""Who makes a request: one chain for both doors.

A client certificate (TLS has checked it) counts first, then a bearer token. Who shows neither is anonymous, and may
do what everybody may; but a token that is no good is refused, never taken for none. Then impersonation.
"""

import asyncio
import base64
import ssl
from collections.abc import Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from aiohttp import web

from navarch.services.api.errors import Unauthorized
from navarch.services.apiserver.auth.authorizer import Authorizer
from navarch.services.apiserver.auth.certificates import CertificateAuthenticator, Shown
from navarch.services.apiserver.auth.impersonation import PREFIX, impersonated
from navarch.services.apiserver.auth.service_account_tokens import InvalidToken
from navarch.services.apiserver.auth.tokens import Tokens
from navarch.services.apiserver.auth.user import ANONYMOUS, User
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.auth")
GRPC_CERTIFICATE = "x509_pem_cert"
# How a WebSocket of a browser, which can set no headers, carries a token.
WEBSOCKET_PREFIX = "base64url.bearer.authorization.k8s.io."


class RpcContext(Protocol):
    """What a gRPC call knows of its caller."""

    def auth_context(self) -> Any:
        """What the peer has proved to be, under gRPC's names."""
        ...

    def invocation_metadata(self) -> Any:
        """Pairs of name and value."""
        ...


class Authentication:
    """Answers for both doors."""

    def __init__(self, tokens: Tokens, authorizer: Authorizer, clock: Clock) -> None:
        self._tokens = tokens
        self._authorizer = authorizer
        self._certificates = CertificateAuthenticator(clock)
        # A connection shows its certificate once. (Transports cannot all be referred to weakly, their TLS can.)
        self._by_connection: WeakKeyDictionary[ssl.SSLObject, Shown | None] = WeakKeyDictionary()

    async def authenticate(self, request: web.BaseRequest) -> User:
        """The user of an HTTP request. Raises Unauthorized, Forbidden (impersonation)."""
        user = self._of_connection(request.transport)
        if user is None:
            header = request.headers.get("Authorization") or _of_websocket(request)
            user = ANONYMOUS if header is None else await self._of_header(header)
        if any(name[: len(PREFIX)].lower() == PREFIX for name in request.headers):
            return impersonated(self._authorizer, user, request.headers.items())
        return user

    async def of_call(self, context: RpcContext) -> User:
        """The user of a gRPC call. Raises Unauthorized, Forbidden (impersonation)."""
        user = self._of_pem(context.auth_context().get(GRPC_CERTIFICATE, ()))
        metadata = context.invocation_metadata() or ()
        if user is None:
            header = next((value for name, value in metadata if name == "authorization"), None)
            user = ANONYMOUS if header is None else await self._of_header(str(header))
        if any(name.startswith(PREFIX) for name, _ in metadata):
            return impersonated(self._authorizer, user, ((name, str(value)) for name, value in metadata))
        return user

    def _of_pem(self, certificates: Iterable[bytes]) -> User | None:
        for pem in certificates:
            return self._certificates.user_of(self._certificates.read(pem))
        return None

    def _of_connection(self, transport: asyncio.BaseTransport | None) -> User | None:
        if transport is None:
            return None
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is None:
            return None
        if tls not in self._by_connection:
            der = tls.getpeercert(binary_form=True)
            pem = None if der is None else ssl.DER_cert_to_PEM_cert(der).encode()
            self._by_connection[tls] = None if pem is None else self._certificates.read(pem)
        shown = self._by_connection[tls]
        return None if shown is None else self._certificates.user_of(shown)

    async def _of_header(self, header: str) -> User:
        scheme, _, token = header.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer":
            # Another way to authenticate, which we do not have: as if nothing had been shown.
            return ANONYMOUS
        if not token:
            return ANONYMOUS
        try:
            return await self._tokens.user_of(token)
        except InvalidToken as failure:
            LOG.info("token.refused", error=str(failure))
            raise Unauthorized from failure


def _of_websocket(request: web.BaseRequest) -> str | None:
    """The token among the protocols that a WebSocket offers, as an Authorization header."""
    for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        text = protocol.strip()
        if text.startswith(WEBSOCKET_PREFIX):
            encoded = text.removeprefix(WEBSOCKET_PREFIX)
            try:
                token = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except ValueError:
                raise Unauthorized from None
            return f"Bearer {token}"
    return None
