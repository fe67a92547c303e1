"""Who calls this kubelet: by client certificate, or by a bearer token that the API server knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.services.api.errors import Unauthorized
from navarch.services.base.clock import Clock
from navarch.services.base.tls import identity
from navarch.services.client.client import Client
from navarch.services.kubelet.remembered import Remembered

AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
# As long as the genuine kubelet believes a review.
TOKEN_S = 120.0


@dataclass(frozen=True, slots=True)
class Caller:
    """A user of the cluster."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


ANONYMOUS = Caller("system:anonymous", (UNAUTHENTICATED,))


class Authentication:
    """Knows callers. anonymous: whether there may be some without credentials."""

    def __init__(self, client: Client, clock: Clock, *, anonymous: bool) -> None:
        self._client = client
        self._anonymous = anonymous
        self._reviewed: Remembered[str, Caller | None] = Remembered(clock)

    async def caller(self, certificate: bytes | None, authorization: str) -> Caller:
        """Who this is. certificate: PEM, verified; authorization: the header. Raises Unauthorized, other ApiErrors."""
        if certificate:
            return _certified(certificate)
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and token:
            known = self._reviewed.get(token)
            found = known.value if known is not None else await self._review(token)
            if found is None:
                raise Unauthorized
            return found
        if authorization or not self._anonymous:
            raise Unauthorized
        return ANONYMOUS

    async def _review(self, token: str) -> Caller | None:
        review = authenticationv1.TokenReview()
        review.spec.token = token
        status = (await self._client.create(review)).status
        user = status.user
        extra = {key: tuple(value.items) for key, value in user.extra.items()}
        found = Caller(user.username, tuple(user.groups), user.uid, extra) if status.authenticated else None
        self._reviewed.put(token, found, TOKEN_S)
        return found


@lru_cache(maxsize=256)
def _certified(certificate: bytes) -> Caller:
    name, groups = identity(certificate)
    return Caller(name, (*groups, AUTHENTICATED))
