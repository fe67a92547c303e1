"""HTTP probes and hooks, with the headers, redirects and words of Kubernetes' own client.

Certificates are not checked, as documented. A probe looks at the status of the answer; a hook only at whether there was
one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.actions import OUTPUT_BYTES, bracketed

if TYPE_CHECKING:
    import aiohttp
    from multidict import CIMultiDict
    from yarl import URL

VERSION = "1.36"
# Asked in all: the answer to the last of them is not followed.
REQUESTS = 10
REDIRECTING = (301, 302, 303, 307, 308)
# Those that the library would add.
OWN_HEADERS = ("Accept", "Accept-Encoding", "User-Agent")


class _Refused(Exception):
    """The request was not answered. The message says why."""


async def probe_http(
    action: corev1.HTTPGetAction, host: str, port: int, timeout_s: float, warn: Callable[[str], None]
) -> str | None:
    """GET; any final answer from 200 to 399 is a success, one from 300 on with a warning.

    Redirects are followed within the host. Returns why it failed, or None.
    """
    try:
        status, body = await _get(action, host, port, timeout_s, "probe", everywhere=False)
    except _Refused as refusal:
        return str(refusal)
    if 300 <= status < 400:
        warn(f"Probe terminated redirects, Response body: {body}")
    return None if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


async def call_http(action: corev1.HTTPGetAction, host: str, port: int, timeout_s: float) -> str | None:
    """GET for a hook: whatever is answered, it was called. Returns why there was no answer, or None."""
    try:
        await _get(action, host, port, timeout_s, "lifecycle", everywhere=True)
    except _Refused as refusal:
        return str(refusal)
    return None


def headers_of(action: corev1.HTTPGetAction, purpose: str) -> CIMultiDict[str]:
    """All that are asked for, also several of one name; who we are and what we accept unless they say otherwise."""
    from multidict import CIMultiDict

    headers = CIMultiDict((header.name, header.value) for header in action.http_headers)
    headers.setdefault("User-Agent", f"kube-{purpose}/{VERSION}")
    headers.setdefault("Accept", "*/*")
    for name in ("User-Agent", "Accept"):
        if not headers[name]:
            del headers[name]
    return headers


async def _get(
    action: corev1.HTTPGetAction, host: str, port: int, timeout_s: float, purpose: str, *, everywhere: bool
) -> tuple[int, str]:
    """Status and the beginning of the body. everywhere: follow redirects to other hosts, too. Raises _Refused."""
    # A client for HTTP costs memory that a node without HTTP probes need not spend.
    import aiohttp

    scheme = (action.scheme or "HTTP").lower()
    url = f"{scheme}://{bracketed(action.host or host)}:{port}/{action.path.removeprefix('/')}"
    headers = headers_of(action, purpose)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with aiohttp.ClientSession(
            timeout=timeout, auto_decompress=False, skip_auto_headers=OWN_HEADERS
        ) as session:
            for _ in range(REQUESTS):
                async with session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
                    target = _target(response)
                    if target is None or not (everywhere or target.host == response.url.host):
                        return response.status, await _body(response)
                    url = str(target)
            raise _Refused(f'Get "{url}": stopped after {REQUESTS} redirects')
    except TimeoutError as failure:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        raise _Refused(f'Get "{url}": {why}') from failure
    except (aiohttp.ClientError, OSError, ValueError) as failure:
        raise _Refused(f'Get "{url}": {failure}') from failure


def _target(response: aiohttp.ClientResponse) -> URL | None:
    """Where an answer leads."""
    from yarl import URL

    if response.status not in REDIRECTING or "Location" not in response.headers:
        return None
    return response.url.join(URL(response.headers["Location"]))


async def _body(response: aiohttp.ClientResponse) -> str:
    return (await response.content.read(OUTPUT_BYTES)).decode(errors="replace")
