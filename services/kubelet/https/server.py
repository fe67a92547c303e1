"""HTTPS: who calls, whether he may, and what becomes of a refusal."""

import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from navarch.services.api.errors import ApiError, Forbidden
from navarch.services.base.credentials import Credentials
from navarch.services.base.log import get_logger
from navarch.services.base.tls_context import load_pair, server_context
from navarch.services.kubelet.access import Access

LOG = get_logger("kubelet.https")
STOP_S = 0.5
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpsServer:
    """Serves `handle` to whom `access` lets in. credentials: None for plain text to anybody, in tests."""

    def __init__(self, handle: Handler, credentials: Credentials | None, access: Access) -> None:
        self._handle = handle
        self._access = access
        self._credentials = credentials
        self._context: ssl.SSLContext | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str) -> int:
        """Listen on "host:port" (port 0: any); returns the port. Raises OSError."""
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_S)
        await self._runner.setup()
        host, _, port = address.rpartition(":")
        if self._credentials is not None:
            self._context = server_context(self._credentials, "http/1.1", need_certificate=False)
        await web.TCPSite(self._runner, host.strip("[]"), int(port), ssl_context=self._context).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    def renew(self, credentials: Credentials) -> None:
        """Show another certificate to those who connect from now on."""
        if self._context is not None:
            load_pair(self._context, credentials)

    async def stop(self) -> None:
        """End all connections. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if self._credentials is not None:
                await self._let_in(request)
            return await self._handle(request)
        except ApiError as failure:
            # Kubelets answer in plain words; it is the API server that makes a Status of them.
            return web.Response(status=failure.code, text=failure.message)

    async def _let_in(self, request: web.BaseRequest) -> None:
        tls = request.get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        pem = ssl.DER_cert_to_PEM_cert(certificate).encode() if certificate else None
        authorization = request.headers.get("Authorization", "")
        try:
            await self._access.require(pem, authorization, request.method, request.path)
        except Forbidden as failure:
            LOG.warning("https.forbidden", path=request.path, cause=failure)
            raise
