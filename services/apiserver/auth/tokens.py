"""Bearer tokens: whom they stand for, and the issuing of those of service accounts.

A token that was good a moment ago is good now: it is remembered for as long as Kubernetes does, by its hash. Bad ones
are not, so that a token counts as soon as what it needs is there.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from navarch.services.apiserver.auth import bootstrap_tokens
from navarch.services.apiserver.auth.bound_objects import BoundObjects
from navarch.services.apiserver.auth.service_account_tokens import (
    LIMIT_BYTES,
    Claims,
    ForeignToken,
    InvalidToken,
    sign,
    verify,
)
from navarch.services.apiserver.auth.signing_keys import KeyRing
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.storage.objects import ObjectStorage
from navarch.services.base.clock import Clock

ISSUER = "https://kubernetes.default.svc.cluster.local"
REMEMBERED = 4096
REMEMBERED_S = 10.0


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """How tokens are made and what is accepted.

    key: PEM of the private key; b"" issues none. other_keys: PEM of further keys that are accepted.
    audiences: of this server, by default its issuer. lifetime_limit_s: of issued tokens; 0 for none.
    """

    key: bytes = b""
    other_keys: tuple[bytes, ...] = ()
    issuer: str = ISSUER
    audiences: tuple[str, ...] = ()
    lifetime_limit_s: int = 0


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token stands for, and at which of the audiences asked for."""

    user: User
    audiences: tuple[str, ...]


class Tokens:
    """Knows tokens."""

    def __init__(self, config: TokenConfig, bound: BoundObjects, storage: ObjectStorage, clock: Clock) -> None:
        """Raises ValueError for keys that cannot be used."""
        self.config = config
        self.keys = KeyRing(config.key, config.other_keys)
        self.audiences = config.audiences or (config.issuer,)
        self._bound = bound
        self._storage = storage
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, User]] = OrderedDict()

    async def user_of(self, token: str) -> User:
        """The user of a token for this server. Raises InvalidToken."""
        digest = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), digest_size=32).digest()
        known = self._known.get(digest)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        user = (await self.review(token, self.audiences)).user
        self._known[digest] = self._clock.monotonic() + REMEMBERED_S, user
        self._known.move_to_end(digest)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return user

    async def review(self, token: str, audiences: Sequence[str]) -> Bearer:
        """Whom a token stands for at some of the audiences. Raises InvalidToken."""
        now = self._clock.now()
        try:
            claims = verify(token, self.keys, (self.config.issuer,), now)
        except ForeignToken:
            user = await bootstrap_tokens.user_of(self._storage, token, now) if len(token) < LIMIT_BYTES else None
            if user is None:
                raise
            return Bearer(user, _common(audiences, self.audiences))
        common = _common(audiences, claims.audiences)
        await self._bound.check(claims, now)
        return Bearer(claims.user(), common)

    def issue(self, claims: Claims) -> str:
        """The token of claims. Raises ValueError where no key is configured."""
        return sign(claims, self.config.issuer, self.keys)


def _common(wanted: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """The audiences in both. Raises InvalidToken where there is none."""
    common = tuple(one for one in wanted if one in given)
    if not common:
        raise InvalidToken(f"token audiences {list(given)!r} is invalid for the target audiences {list(wanted)!r}")
    return common
