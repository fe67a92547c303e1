"""HTTP to others: kubelets, what Pods serve, extension servers.

What they answer is passed on as it is. A redirect is never followed: it would have this server call, with its own
certificate, whatever address a node or a Pod names.
"""

import ssl
from types import SimpleNamespace

import aiohttp

CONNECT_S = 10.0


def session(context: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """A session. context: of all its connections, where requests do not bring their own."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse)
    return aiohttp.ClientSession(
        # Streams hold a connection each: no bound on their number.
        connector=aiohttp.TCPConnector(ssl=context or True, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
    )


async def _refuse(
    session: aiohttp.ClientSession, context: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    # A WebSocket cannot be asked for without following them, so they are refused here.
    redirect.response.close()
    raise aiohttp.ClientConnectionError(f"redirects are not followed: HTTP status {redirect.response.status}")
