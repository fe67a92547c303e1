"""HTTPS with client certificates: who calls, and what becomes of a refusal."""

import ssl
from collections.abc import Awaitable, Callable
from functools import lru_cache

from aiohttp import web

from navarch.services.api.errors import ApiError
from navarch.services.base.credentials import Credentials
from navarch.services.base.log import get_logger
from navarch.services.base.tls import identity
from navarch.services.base.tls_context import server_context

LOG = get_logger("kubelet.https")
ADMINISTRATORS = "system:masters"
# As which an API server calls: ours, and those that kubeadm sets up.
API_SERVERS = frozenset({"kube-apiserver", "kube-apiserver-kubelet-client"})
OPEN_PATHS = frozenset({"/healthz"})
STOP_S = 0.5
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpsServer:
    """Serves `handle` to API servers and administrators. credentials: None for plain text to anybody, in tests."""

    def __init__(self, handle: Handler, credentials: Credentials | None) -> None:
        self._handle = handle
        self._credentials = credentials
        self._runner: web.ServerRunner | None = None

    async def start(self, address: str) -> int:
        """Listen on "host:port" (port 0: any); returns the port. Raises OSError."""
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_S)
        await self._runner.setup()
        host, _, port = address.rpartition(":")
        context = None
        if self._credentials is not None:
            context = server_context(self._credentials, "http/1.1", need_certificate=False)
        await web.TCPSite(self._runner, host.strip("[]"), int(port), ssl_context=context).start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """End all connections. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if (refusal := self._refuse(request)) is not None:
                return refusal
            return await self._handle(request)
        except ApiError as failure:
            # Kubelets answer in plain words; it is the API server that makes a Status of them.
            return web.Response(status=failure.code, text=failure.message)

    def _refuse(self, request: web.BaseRequest) -> web.Response | None:
        if self._credentials is None or request.path in OPEN_PATHS:
            return None
        tls = request.get_extra_info("ssl_object")
        certificate = tls.getpeercert(True) if tls is not None else None
        if not certificate:
            return web.Response(status=401, text="Unauthorized")
        name, groups = _identity(certificate)
        if name in API_SERVERS or ADMINISTRATORS in groups:
            return None
        LOG.warning("https.forbidden", user=name, path=request.path)
        return web.Response(status=403, text=f"Forbidden (user={name}, resource=nodes, subresource=proxy)")


@lru_cache(maxsize=256)
def _identity(certificate: bytes) -> tuple[str, tuple[str, ...]]:
    return identity(ssl.DER_cert_to_PEM_cert(certificate).encode())
