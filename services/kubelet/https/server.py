"""HTTPS: who calls, whether he may, and what becomes of a refusal."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from navarch.services.api.errors import ApiError, Forbidden
from navarch.services.base.credentials import Credentials
from navarch.services.base.log import get_logger
from navarch.services.base.tls_context import load_pair, server_context
from navarch.services.client.streams.front import FrontServer, Upgrade
from navarch.services.kubelet.access import Access
from navarch.services.kubelet.https.paths import raw_path, served_path

LOG = get_logger("kubelet.https")
# Told of each request: the method, the path without what is the caller's, how long it took.
Observe = Callable[[str, str, float], None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
# Gets a connection whose client asks for SPDY. Raises ApiError before it has answered.
Upgraded = Callable[[Upgrade], Awaitable[None]]


class HttpsServer:
    """Serves to whom `access` lets in. credentials: None for plain text to anybody, in tests."""

    def __init__(
        self, handle: Handler, upgraded: Upgraded, credentials: Credentials | None, access: Access, observe: Observe
    ) -> None:
        self._handle = handle
        self._upgraded = upgraded
        self._access = access
        self._observe = observe
        self._credentials = credentials
        self._context: ssl.SSLContext | None = None
        self._server = FrontServer(self._answer, self._upgrade)

    async def start(self, address: str) -> int:
        """Listen on "host:port" (port 0: any); returns the port. Raises OSError."""
        host, _, port = address.rpartition(":")
        if self._credentials is not None:
            self._context = server_context(self._credentials, "http/1.1", need_certificate=False)
        return await self._server.start(host.strip("[]"), int(port), self._context)

    def renew(self, credentials: Credentials) -> None:
        """Show another certificate to those who connect from now on."""
        if self._context is not None:
            load_pair(self._context, credentials)

    async def stop(self) -> None:
        """End all connections. Idempotent."""
        await self._server.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        began, path = asyncio.get_running_loop().time(), raw_path(request.raw_path)
        try:
            tls, header = request.get_extra_info("ssl_object"), request.headers.get("Authorization", "")
            await self._let_in(tls, header, request.method, path)
            return await self._handle(request)
        except ApiError as failure:
            # Kubelets answer in plain words; it is the API server that makes a Status of them.
            return web.Response(status=failure.code, text=failure.message)
        finally:
            self._observe(request.method, served_path(path), asyncio.get_running_loop().time() - began)

    async def _upgrade(self, upgrade: Upgrade) -> None:
        began, path = asyncio.get_running_loop().time(), raw_path(upgrade.target)
        try:
            tls, header = upgrade.writer.get_extra_info("ssl_object"), upgrade.headers.get("Authorization", "")
            await self._let_in(tls, header, upgrade.method, path)
            await self._upgraded(upgrade)
        except ApiError as failure:
            await upgrade.refuse(failure.code, failure.message)
        finally:
            self._observe(upgrade.method, served_path(path), asyncio.get_running_loop().time() - began)

    async def _let_in(self, tls: ssl.SSLObject | None, authorization: str, method: str, path: str) -> None:
        if self._credentials is None:
            return
        certificate = tls.getpeercert(True) if tls is not None else None
        pem = ssl.DER_cert_to_PEM_cert(certificate).encode() if certificate else None
        try:
            await self._access.require(pem, authorization, method, path)
        except Forbidden as failure:
            LOG.warning("https.forbidden", path=path, cause=failure)
            raise
