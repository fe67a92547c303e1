"""Bootstrap tokens: "abcdef.0123456789abcdef", kept as Secrets, with which a new node asks for its certificate."""

import hmac
import re
from datetime import datetime

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import meta
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.auth.user import AUTHENTICATED, User
from navarch.services.apiserver.storage.objects import ObjectStorage

SECRET = KINDS.of(corev1.Secret)
NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


async def user_of(storage: ObjectStorage, token: str, now: float) -> User | None:
    """The user of a bootstrap token; None for what is none, or counts no more."""
    parts = _TOKEN.fullmatch(token)
    stored = await storage.get(SECRET, NAMESPACE, f"bootstrap-token-{parts[1]}") if parts else None
    if parts is None or stored is None:
        return None
    secret = stored.decode()
    if meta.is_being_deleted(secret) or secret.type != TYPE:
        return None
    return user_in(secret, parts[1], parts[2], now)


def user_in(secret: corev1.Secret, token_id: str, token_secret: str, now: float) -> User | None:
    """The user that a Secret describes, if the token is the right one and still counts."""
    data = {key: value.decode("utf-8", "replace") for key, value in secret.data.items()}
    is_right = hmac.compare_digest(data.get("token-secret", "").encode(), token_secret.encode())
    if not is_right or data.get("token-id") != token_id or data.get("usage-bootstrap-authentication") != "true":
        return None
    groups = [group.strip() for group in data.get("auth-extra-groups", "").split(",") if group.strip()]
    if not all(_GROUP.fullmatch(group) for group in groups) or not _is_valid_at(data.get("expiration", ""), now):
        return None
    return User(f"system:bootstrap:{token_id}", frozenset({GROUP, AUTHENTICATED, *groups}))


def _is_valid_at(expiration: str, now: float) -> bool:
    if not expiration:
        return True
    try:
        moment = datetime.fromisoformat(expiration)
    except ValueError:
        return False
    return moment.tzinfo is not None and moment.timestamp() > now
