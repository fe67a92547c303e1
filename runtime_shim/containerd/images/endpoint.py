"""HTTP to one host: its certificates and headers, rights, redirects, and what refusals mean.

Redirects are followed here, for what belongs to the host must not go where it points: neither credentials, nor
configured headers, nor its certificates; and a challenge from elsewhere is not answered. What a registry
refuses is raised with its own words, for they end in an Event that a person reads.
"""

import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.images import model
from navarch.runtime_shim.containerd.images.auth import Authorizer, Credentials, TokenRequest
from navarch.runtime_shim.containerd.images.hosts import Host, default_url, is_loopback
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.reference import Reference

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

# A token or an error; manifests have a bound of their own.
ANSWER_BYTES = 1 << 20
REDIRECTS = frozenset((301, 302, 303, 307, 308))
REDIRECTS_IN_A_ROW = 10


class Overloaded(errors.Unavailable):
    """The registry said when to come back."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Endpoint:
    """One host, for one repository. Holds no connection of its own; ``session`` outlives it."""

    def __init__(
        self,
        session: "aiohttp.ClientSession",
        host: Host,
        image: Reference,
        credentials: Credentials,
        options: PullOptions,
    ) -> None:
        """Raises FailedPrecondition for certificates that can't be used."""
        import aiohttp
        from yarl import URL

        self._session = session
        self._host = host
        self._image = image
        self._base = URL(f"{host.url}/{image.path}")
        authority = host.authority
        self.mirror = authority not in (image.host, Host(default_url(image.host)).authority)
        self._ssl = _context(host)
        dial_s = options.dial_timeout_s if host.dial_timeout_s is None else host.dial_timeout_s
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=dial_s, sock_read=options.progress_timeout_s)
        self._authorizer = Authorizer(
            credentials.for_host(authority, mirror=self.mirror), f"repository:{image.path}:pull", self._token
        )

    def can(self, capability: str) -> bool:
        """Whether it may be asked for that: hosts.PULL, hosts.RESOLVE."""
        return capability in self._host.capabilities

    @asynccontextmanager
    async def get(self, path: str, headers: Mapping[str, str]) -> "AsyncIterator[aiohttp.ClientResponse]":
        """A successful answer; asks for rights once when the host wants them.

        Raises NotFound, RuntimeFailure, Unavailable; also for what goes wrong within the block.
        """
        from multidict import CIMultiDict

        url = self._base / path
        if self.mirror:
            # A mirror of several registries is told which is meant.
            url = url.update_query(ns=self._image.host)
        with self._reached():
            for attempt in (1, 2):
                rights = self._authorizer.header
                wanted = CIMultiDict(self._host.headers)
                wanted.update({**headers, **({"Authorization": rights} if rights else {})})
                async with self._follow(url, wanted, headers) as response:
                    if response.status == 401 and attempt == 1 and response.url.origin() == url.origin():
                        await self._authorize(response, rights)
                        continue
                    if response.status >= 300:
                        raise await self._refusal(response)
                    yield response
                    return

    def _reached(self) -> "_Reached":
        return _Reached(self._host.authority)

    @asynccontextmanager
    async def _follow(
        self, url: "URL", own: Mapping[str, str], public: Mapping[str, str]
    ) -> "AsyncIterator[aiohttp.ClientResponse]":
        from yarl import URL

        home = url.origin()
        for _ in range(REDIRECTS_IN_A_ROW):
            at_home = url.origin() == home
            request = self._session.get(
                url,
                headers=own if at_home else public,
                ssl=self._ssl if at_home else True,
                timeout=self._timeout,
                allow_redirects=False,
                proxy=_proxy_of(url),
            )
            async with request as response:
                if response.status not in REDIRECTS or "Location" not in response.headers:
                    yield response
                    return
                # As it is: the address may be signed.
                url = url.join(URL(response.headers["Location"], encoded=True))
                if url.scheme not in ("http", "https"):
                    raise errors.RuntimeFailure(f"{self._host.authority} redirects to {url.scheme or 'nowhere'}:")
        raise errors.RuntimeFailure(f"{self._host.authority} redirects in a circle")

    async def _authorize(self, response: "aiohttp.ClientResponse", refused: str) -> None:
        try:
            await self._authorizer.answer(response.headers.getall("WWW-Authenticate", []), refused)
        except PermissionError as failure:
            raise self._denied(str(failure)) from None

    async def _token(self, wanted: TokenRequest) -> str:
        from yarl import URL

        url = URL(wanted.realm)
        if not wanted.form:
            url = url.update_query(urlencode([*url.query.items(), *wanted.query]))
        request = self._session.request(
            "POST" if wanted.form else "GET",
            url,
            data=dict(wanted.form) or None,
            headers={"Authorization": wanted.authorization} if wanted.authorization else {},
            ssl=self._ssl if url.host == URL(self._host.url).host else True,
            timeout=self._timeout,
            # Credentials are for the token server alone.
            allow_redirects=not (wanted.form or wanted.authorization),
            proxy=_proxy_of(url),
        )
        async with request as response:
            if response.status >= 300:
                raise await self._refusal(response)
            answer = model.parse_json(await read_all(response, ANSWER_BYTES), f"the answer of {shown(url)}")
        token = answer.get("token") or answer.get("access_token")
        if not token:
            raise self._denied(f"the token server {shown(url)} sent no token")
        return str(token)

    async def _refusal(self, response: "aiohttp.ClientResponse") -> errors.ShimError:
        # Cut rather than refused: it is only to be quoted.
        body = await response.content.read(64 << 10)
        said = _registry_errors(body) or f"HTTP {response.status} {response.reason}"
        if response.status in (401, 403):
            return self._denied(said)
        if response.status == 404:
            return errors.NotFound(f"{self._image}: not found: {said}")
        message = f"{self._host.authority} answered: {said}"
        if response.status in (408, 429) or response.status >= 500:
            wait_s = _retry_after_s(response.headers.get("Retry-After", ""), response.headers.get("Date", ""))
            return errors.Unavailable(message) if wait_s is None else Overloaded(message, wait_s)
        return errors.RuntimeFailure(message)

    def _denied(self, said: str) -> errors.ShimError:
        return errors.RuntimeFailure(
            f"pull access denied for {self._image.repository}, "
            f"repository does not exist or may require authorization: {said}"
        )


class _Reached:
    """Turns failures of the transport within a block into Unavailable."""

    def __init__(self, authority: str) -> None:
        self._authority = authority

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> None:
        import aiohttp

        if isinstance(failure, aiohttp.ClientSSLError):
            raise errors.RuntimeFailure(f"failed to verify {self._authority}: {failure}") from failure
        if isinstance(failure, TimeoutError):
            raise errors.Unavailable(f"{self._authority} does not answer") from failure
        if isinstance(failure, aiohttp.ClientError | ValueError):
            # Without the cause, whose words hold the address.
            raise errors.Unavailable(f"failed to reach {self._authority}: {_reason(failure)}") from None


def _reason(failure: Exception) -> object:
    """What went wrong, without addresses: those of redirects are signed, others hold passwords."""
    import aiohttp

    match failure:
        case aiohttp.ClientConnectorError():
            # Which of https and http was tried last says nothing of the trouble.
            return failure.os_error
        case aiohttp.ClientResponseError():
            return failure.message or f"HTTP {failure.status}"
        case aiohttp.InvalidURL() | ValueError():
            return "its address can not be used"
    return failure


def shown(url: "URL") -> str:
    """An address for people: a query may be a signature, and the user's name stands beside a password."""
    return f"{url.origin()}{url.path}"


async def read_all(response: "aiohttp.ClientResponse", limit_bytes: int) -> bytes:
    """A small body whole. Raises InvalidArgument for one beyond the limit."""
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > limit_bytes:
            raise errors.InvalidArgument(f"{shown(response.url)} sends more than {limit_bytes} bytes")
    return bytes(data)


def _context(host: Host) -> ssl.SSLContext | bool:
    """How to check a host's certificate; True for the usual way."""
    if not (host.ca or host.client or host.skip_verify):
        return True
    context = ssl.create_default_context()
    if host.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        for path in host.ca:
            context.load_verify_locations(path)
        for certificate, key in host.client:
            context.load_cert_chain(certificate, key)
    except OSError as failure:  # ssl.SSLError is one.
        names = ", ".join(str(path) for path in (*host.ca, *(path for pair in host.client for path in pair if path)))
        raise errors.FailedPrecondition(f"certificates of {host.authority} ({names}): {failure}") from None
    return context


def _proxy_of(url: "URL") -> str | None:
    """The proxy that the environment names for an address; never for loopback, as in Go's programs."""
    name = url.host or ""
    if is_loopback(name) or urllib.request.proxy_bypass(name):
        return None
    return urllib.request.getproxies().get(url.scheme)


def _retry_after_s(value: str, date: str) -> float | None:
    """Seconds of a Retry-After header, which holds them or a date; None without, or for what is neither."""
    if value.isdecimal():
        return float(value)
    try:
        begin = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(value) - begin).total_seconds()) if value else None
    except (ValueError, TypeError):
        return None


def _registry_errors(body: bytes) -> str:
    """``code: message`` of each error in the registry's answer; empty when there is no such thing."""
    try:
        listed = orjson.loads(body)["errors"]
        return "; ".join(f"{one.get('code', '')}: {one.get('message', '')}".strip(": ") for one in listed)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
