"""A client of one repository in an OCI registry: manifests, blobs, tokens.

Who may pull is asked as the registry wants it: a first request without rights is answered with a challenge,
which names a token server (bearer) or asks for a password (basic). What a registry refuses is raised with its
own words, for they end in an Event that a person reads.
Sources: OCI distribution specification 1.1; the distribution project's token authentication.
"""

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.images import model
from navarch.runtime_shim.containerd.images.model import Descriptor
from navarch.runtime_shim.containerd.images.reference import DEFAULT_HOST, Reference

if TYPE_CHECKING:
    import aiohttp

ACCEPTED = ", ".join(sorted(model.INDEX_TYPES | model.MANIFEST_TYPES))
MANIFEST_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20
# Silence this long on an open download means a dead peer.
READ_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 15.0
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the kubelet found in the Pod's pull secrets. All empty: anonymous."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @classmethod
    def of(cls, auth: criv1.AuthConfig) -> "Credentials":
        """From CRI; ``auth`` holds base64 of user:password. Raises InvalidArgument."""
        username, password = auth.username, auth.password
        if auth.auth and not username:
            try:
                username, _, password = base64.b64decode(auth.auth).decode().rstrip("\0").partition(":")
            except ValueError as failure:
                raise errors.InvalidArgument(f"auth of the pull secret is not base64: {failure}") from None
        return cls(username, password, auth.identity_token, auth.registry_token)

    @property
    def basic(self) -> str:
        """The value of a basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Repository:
    """One repository. Holds no connection of its own; ``session`` outlives it."""

    def __init__(self, session: "aiohttp.ClientSession", image: Reference, credentials: Credentials) -> None:
        self._session = session
        self._image = image
        self._credentials = credentials
        self._base = f"{base_url(image.host)}/v2/{image.path}"
        self._authorization = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""

    async def manifest(self, name: str) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest. Raises NotFound, RuntimeFailure, InvalidArgument."""
        async with self._get(f"{self._base}/manifests/{name}", {"Accept": ACCEPTED}) as response:
            data = await response.content.read(MANIFEST_BYTES + 1)
            while len(data) <= MANIFEST_BYTES and (more := await response.content.read(MANIFEST_BYTES)):
                data += more
            media_type = response.headers.get("Content-Type", "").partition(";")[0]
        if len(data) > MANIFEST_BYTES:
            raise errors.InvalidArgument(f"the manifest {name} exceeds {MANIFEST_BYTES} bytes")
        digest = model.digest_of(data)
        if name.startswith("sha256:") and name != digest:
            raise errors.InvalidArgument(f"the registry sent {digest} for {name}")
        document = model.parse_json(data, f"manifest {name}")
        return Descriptor(document.get("mediaType") or media_type, digest, len(data)), data

    async def blob(self, target: Descriptor, offset: int) -> AsyncIterator[bytes]:
        """The content of a blob from ``offset`` on, in pieces. The caller checks the digest."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._get(f"{self._base}/blobs/{target.digest}", headers) as response:
            # A server that ignores the range sends all: what is there already is passed over.
            skip = offset if offset and response.status == 200 else 0
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                piece = chunk[skip:]
                skip = max(0, skip - len(chunk))
                if piece:
                    yield piece

    @asynccontextmanager
    async def _get(self, url: str, headers: Mapping[str, str]) -> "AsyncIterator[aiohttp.ClientResponse]":
        """A successful answer; asks for rights once when the registry wants them."""
        import aiohttp

        try:
            for attempt in (1, 2):
                wanted = {**headers, **({"Authorization": self._authorization} if self._authorization else {})}
                async with self._session.get(url, headers=wanted) as response:
                    if response.status == 401 and attempt == 1:
                        self._authorization = await self._authorize(response.headers.get("WWW-Authenticate", ""))
                        continue
                    if response.status >= 300:
                        raise await self._refusal(response)
                    yield response
                    return
        except aiohttp.ClientError as failure:
            raise errors.Unavailable(f"failed to reach {self._image.host}: {failure}") from failure
        except TimeoutError as failure:
            raise errors.Unavailable(f"{self._image.host} does not answer") from failure

    async def _authorize(self, challenge: str) -> str:
        """The Authorization header that answers a challenge. Raises RuntimeFailure."""
        scheme, parameters = parse_challenge(challenge)
        if scheme == "basic" and self._credentials.username:
            return self._credentials.basic
        if scheme != "bearer" or "realm" not in parameters:
            raise self._denied("the registry wants a user name and a password, and no pull secret has them")
        answer = await self._token(parameters)
        token = answer.get("token") or answer.get("access_token")
        if not token:
            raise self._denied(f"the token server {parameters['realm']} sent no token")
        return f"Bearer {token}"

    async def _token(self, challenge: Mapping[str, str]) -> dict[str, Any]:
        scope = challenge.get("scope") or f"repository:{self._image.path}:pull"
        query = {"service": challenge.get("service", ""), "scope": scope}
        realm, credentials = challenge["realm"], self._credentials
        if credentials.identity_token:
            form = {**query, "grant_type": "refresh_token", "refresh_token": credentials.identity_token}
            request = self._session.post(realm, data={**form, "client_id": "navarch"})
        else:
            headers = {"Authorization": credentials.basic} if credentials.username else {}
            request = self._session.get(realm, params=query, headers=headers)
        async with request as response:
            if response.status >= 300:
                raise await self._refusal(response)
            return model.parse_json(await response.read(), f"the answer of {realm}")

    async def _refusal(self, response: "aiohttp.ClientResponse") -> errors.ShimError:
        said = _registry_errors(await response.content.read(64 << 10)) or f"HTTP {response.status} {response.reason}"
        if response.status in (401, 403):
            return self._denied(said)
        if response.status == 404:
            return errors.NotFound(f"{self._image}: not found: {said}")
        kind = errors.Unavailable if response.status == 429 or response.status >= 500 else errors.RuntimeFailure
        return kind(f"{self._image.host} answered: {said}")

    def _denied(self, said: str) -> errors.ShimError:
        return errors.RuntimeFailure(
            f"pull access denied for {self._image.repository}, "
            f"repository does not exist or may require authorization: {said}"
        )


def base_url(host: str) -> str:
    """Where a registry answers: HTTPS, but plain HTTP on loopback, as every container runtime has it."""
    if host == DEFAULT_HOST:
        return "https://registry-1.docker.io"
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return f"{'http' if _is_loopback(name.strip('[]')) else 'https'}://{host}"


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """The scheme, in lower case, and the parameters of a WWW-Authenticate header (RFC 9110, 11.6.1)."""
    scheme, _, rest = header.strip().partition(" ")
    return scheme.lower(), {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _registry_errors(body: bytes) -> str:
    """``code: message`` of each error in the registry's answer; empty when there is no such thing."""
    try:
        listed = orjson.loads(body)["errors"]
        return "; ".join(f"{one.get('code', '')}: {one.get('message', '')}".strip(": ") for one in listed)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
