"""Who we are to a registry: the pull secret, and the answers to a host's challenges.

A first request without rights is answered with a challenge, which names a token server (bearer) or asks for a
password (basic). A token is kept for the requests of one pull to one host, and renewed when that host no longer
takes it.
Sources: RFC 9110, 11.6.1; the distribution project's token authentication, with and without OAuth 2.
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.reference import normal_host

# A scheme, or one of its parameters.
_WORD = re.compile(r'([\w!#$%&\'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?')
CLIENT_ID = "navarch"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the kubelet found in the Pod's pull secrets. All empty: anonymous."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    # The registry that all this is for; "" for the one that the image names, and its mirrors.
    server: str = ""

    @classmethod
    def of(cls, auth: criv1.AuthConfig) -> "Credentials":
        """From CRI; ``auth`` holds base64 of user:password. Raises InvalidArgument."""
        username, password = auth.username, auth.password
        if auth.auth and not username:
            try:
                username, colon, password = base64.b64decode(auth.auth).decode().rstrip("\0").partition(":")
            except ValueError as failure:
                raise errors.InvalidArgument(f"auth of the pull secret is not base64: {failure}") from None
            if not colon:
                raise errors.InvalidArgument("auth of the pull secret does not decode to user:password")
        return cls(username, password, auth.identity_token, auth.registry_token, _server(auth.server_address))

    @property
    def basic(self) -> str:
        """The value of a basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def for_host(self, authority: str, *, mirror: bool) -> "Credentials":
        """What a host may be told. A registry token, which goes with every request, is kept from mirrors."""
        if self.server and self.server != normal_host(authority):
            return Credentials()
        return Credentials(
            self.username, self.password, self.identity_token, "" if mirror else self.registry_token, self.server
        )


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to ask a token server: a form to post where there is one, else a query."""

    realm: str
    query: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] = ()
    authorization: str = field(default="", repr=False)


class Authorizer:
    """The Authorization header for one host. ``fetch`` asks a token server and gives the token."""

    def __init__(self, credentials: Credentials, scope: str, fetch: Callable[[TokenRequest], Awaitable[str]]) -> None:
        self._credentials = credentials
        self._scope = scope
        self._fetch = fetch
        self._lock = asyncio.Lock()
        self.header = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""

    async def answer(self, challenges: Iterable[str], refused: str) -> None:
        """Set `header` as challenges ask for, when it is still the refused one. Raises PermissionError."""
        async with self._lock:
            if self.header != refused:
                return  # A request beside this one was faster.
            offered = dict(parse_challenges(", ".join(challenges)))
            if "bearer" in offered and offered["bearer"].get("realm"):
                token = await self._fetch(token_request(offered["bearer"], self._scope, self._credentials))
                self.header = f"Bearer {token}"
            elif "basic" in offered and self._credentials.username:
                self.header = self._credentials.basic
            else:
                raise PermissionError("the registry wants a user name and a password, and no pull secret has them")


def token_request(challenge: dict[str, str], default_scope: str, credentials: Credentials) -> TokenRequest:
    """How to ask for the token that a bearer challenge demands."""
    scopes = challenge.get("scope", "").split() or [default_scope]
    service = [("service", challenge["service"])] if challenge.get("service") else []
    if credentials.identity_token:
        form = [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
        form += [*service, ("client_id", CLIENT_ID), ("scope", " ".join(scopes))]
        return TokenRequest(challenge["realm"], form=tuple(form))
    query = (*service, *(("scope", scope) for scope in scopes))
    return TokenRequest(challenge["realm"], query, authorization=credentials.basic if credentials.username else "")


def parse_challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """(scheme in lower case, parameters) of each challenge of a WWW-Authenticate header."""
    found: list[tuple[str, dict[str, str]]] = []
    for match in _WORD.finditer(header):
        name, quoted, bare = match.groups()
        if quoted is None and bare is None:
            found.append((name.lower(), {}))
        elif found:
            found[-1][1][name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
    return found


def _server(address: str) -> str:
    """A pull secret's server: a URL, a host, or Docker Hub's https://index.docker.io/v1/."""
    authority = urlsplit(address if "://" in address else f"//{address}").netloc
    return normal_host(authority.rpartition("@")[2]) if authority else ""
