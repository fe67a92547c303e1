"""What the Secrets of bootstrap tokens say, and what follows for them and for cluster-info. Pure."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import is_being_deleted

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
SIGNED = "kubeconfig"
SIGNATURE = "jws-kubeconfig-"
_NAME = "bootstrap-token-"


@dataclass(frozen=True, slots=True)
class Token:
    """A token that vouches for cluster-info."""

    id: str
    secret: str

    @classmethod
    def of(cls, secret: corev1.Secret, now: float) -> Self | None:
        """The token of a Secret; None for one that is none, is not for signing, or has ended."""
        if not is_token(secret) or is_being_deleted(secret) or _text(secret, "usage-bootstrap-signing") != "true":
            return None
        made = cls(_text(secret, "token-id"), _text(secret, "token-secret"))
        end = ends_at(secret)
        is_whole = made.id and made.secret and secret.metadata.name == _NAME + made.id
        return made if is_whole and (end is None or end > now) else None


def is_token(secret: corev1.Secret) -> bool:
    """Whether it is one by its type and place."""
    return secret.type == TYPE and secret.metadata.namespace == NAMESPACE


def ends_at(secret: corev1.Secret) -> float | None:
    """When it ends, unix seconds; None for never. What says no moment has ended, as in Kubernetes."""
    text = _text(secret, "expiration")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return moment.timestamp() if moment.tzinfo is not None else 0.0


def signature(content: str, token: Token) -> str:
    """A JSON web signature (RFC 7515) of a content that is kept elsewhere: its middle part is empty."""
    header = _encode(json.dumps({"alg": "HS256", "kid": token.id}, separators=(",", ":")).encode())
    signed = hmac.digest(token.secret.encode(), f"{header}.{_encode(content.encode())}".encode(), hashlib.sha256)
    return f"{header}..{_encode(signed)}"


def signed_data(data: Mapping[str, str], tokens: Iterable[Token]) -> dict[str, str]:
    """The data of cluster-info with the signatures of these tokens and no others."""
    kept = {key: value for key, value in data.items() if not key.startswith(SIGNATURE)}
    if SIGNED not in kept:
        return kept
    return kept | {SIGNATURE + token.id: signature(kept[SIGNED], token) for token in tokens}


def _text(secret: corev1.Secret, key: str) -> str:
    return secret.data[key].decode("utf-8", "replace") if key in secret.data else ""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
