"""Service account tokens as JSON Web Tokens: made and checked. No I/O, no clock.

A token names its account by uid, and the object that it is bound to: with that object it dies. Whether those are
still there is asked elsewhere (`bound_objects`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from navarch.services.apiserver.auth.signing_keys import KeyRing
from navarch.services.apiserver.auth.user import (
    AUTHENTICATED,
    User,
    service_account_groups,
    service_account_name,
)

CLAIM = "kubernetes.io"
# Clocks of issuer and verifier may differ by so much.
SKEW_S = 60.0
# Far beyond any token of ours; what is larger is not even looked at.
LIMIT_BYTES = 16 * 1024
_EXTRA = "authentication.kubernetes.io/"
_JWS = jwt.PyJWS()


class InvalidToken(Exception):
    """A token that proves nothing, and why."""


class ForeignToken(InvalidToken):
    """A token that is none of ours."""


@dataclass(frozen=True, slots=True)
class Named:
    """An object by name and uid. uid: "" for a node that is not there (any more)."""

    name: str
    uid: str

    def claim(self) -> dict[str, str]:
        """As in a token."""
        return {"name": self.name, "uid": self.uid} if self.uid else {"name": self.name}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times are Unix seconds; warn_after: 0 for none."""

    namespace: str
    account: Named
    audiences: tuple[str, ...]
    issued_at: int
    expires_at: int
    id: str
    pod: Named | None = None
    secret: Named | None = None
    node: Named | None = None
    warn_after: int = 0

    def user(self) -> User:
        """Whom it stands for."""
        extra: dict[str, str] = {}
        if self.id:
            extra["credential-id"] = f"JTI={self.id}"
        if self.node is not None:
            extra |= {"node-name": self.node.name} | ({"node-uid": self.node.uid} if self.node.uid else {})
        if self.pod is not None:
            extra |= {"pod-name": self.pod.name, "pod-uid": self.pod.uid}
        groups = service_account_groups(self.namespace) | {AUTHENTICATED}
        pairs = tuple((_EXTRA + key, (value,)) for key, value in sorted(extra.items()))
        return User(service_account_name(self.namespace, self.account.name), groups, self.account.uid, pairs)


def sign(claims: Claims, issuer: str, keys: KeyRing) -> str:
    """The token. The key ring has to have a signing key."""
    if keys.signing is None or keys.signing_key is None:
        raise ValueError("no key to sign with")
    private: dict[str, Any] = {"namespace": claims.namespace, "serviceaccount": claims.account.claim()}
    for name, bound in (("pod", claims.pod), ("secret", claims.secret), ("node", claims.node)):
        if bound is not None:
            private[name] = bound.claim()
    if claims.warn_after:
        private["warnafter"] = claims.warn_after
    payload = {
        "aud": list(claims.audiences),
        "exp": claims.expires_at,
        "iat": claims.issued_at,
        "iss": issuer,
        "jti": claims.id,
        CLAIM: private,
        "nbf": claims.issued_at,
        "sub": service_account_name(claims.namespace, claims.account.name),
    }
    data = json.dumps(payload, separators=(",", ":")).encode()
    return _JWS.encode(data, keys.signing, keys.signing_key.algorithm, {"kid": keys.signing_key.id, "typ": None})


def verify(token: str, keys: KeyRing, issuers: Sequence[str], now: float) -> Claims:
    """What a token of ours says. Raises ForeignToken for what is none, InvalidToken. Audiences are not looked at."""
    if len(token) > LIMIT_BYTES or token.count(".") != 2:
        raise ForeignToken("invalid bearer token")
    payload = _payload(token, keys)
    if payload.get("iss") not in issuers:
        raise ForeignToken("invalid bearer token")
    try:
        claims = _claims(payload)
    except (KeyError, TypeError, ValueError, OverflowError) as failure:
        raise InvalidToken("service account token claims could not be validated") from failure
    if not claims.account.uid or payload.get("sub") != claims.user().name:
        raise InvalidToken("service account token claims could not be validated")
    if now > claims.expires_at + SKEW_S:
        raise InvalidToken("service account token has expired")
    if now < int(payload.get("nbf", 0)) - SKEW_S or now < claims.issued_at - SKEW_S:
        raise InvalidToken("service account token is not valid yet")
    return claims


def _payload(token: str, keys: KeyRing) -> Mapping[str, Any]:
    try:
        key_id = jwt.get_unverified_header(token).get("kid", "")
        for key in keys.candidates(key_id):
            try:
                found = json.loads(_JWS.decode(token, key.key, [key.algorithm]))
            except jwt.InvalidSignatureError:
                continue
            if isinstance(found, dict):
                return found
    except (jwt.PyJWTError, ValueError, RecursionError) as failure:
        raise ForeignToken("invalid bearer token") from failure
    raise ForeignToken("invalid bearer token")


def _claims(payload: Mapping[str, Any]) -> Claims:
    private = payload[CLAIM]
    audiences = payload.get("aud", ())
    return Claims(
        namespace=_text(private["namespace"]),
        account=_named(private["serviceaccount"]),
        audiences=(audiences,) if isinstance(audiences, str) else tuple(_text(one) for one in audiences),
        issued_at=int(payload.get("iat", 0)),
        expires_at=int(payload["exp"]),
        id=_text(payload.get("jti", "")),
        pod=_named(private["pod"]) if "pod" in private else None,
        secret=_named(private["secret"]) if "secret" in private else None,
        node=_named(private["node"]) if "node" in private else None,
        warn_after=int(private.get("warnafter", 0)),
    )


def _named(value: Mapping[str, Any]) -> Named:
    return Named(_text(value["name"]), _text(value.get("uid", "")))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string was expected")
    return value
