"""Impersonation: a user with the right to it acts as another, by headers of the request.

    Impersonate-User, Impersonate-Uid, Impersonate-Group (any number), Impersonate-Extra-{key} (any number)

Each of them takes a right of its own: the verb `impersonate` on users or service accounts, groups, uids and
userextras.
"""

from collections.abc import Iterable
from urllib.parse import unquote

from navarch.services.api.errors import BadRequest
from navarch.services.apiserver.auth.authorizer import Attributes, Authorizer, authorize
from navarch.services.apiserver.auth.user import (
    ANONYMOUS_NAME,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    service_account_groups,
    split_service_account,
)

PREFIX = "impersonate-"
_EXTRA = "extra-"
_IDENTITY = "authentication.k8s.io"


def impersonated(authorizer: Authorizer, user: User, headers: Iterable[tuple[str, str]]) -> User:
    """The user as whom a request acts: its own where no header says otherwise. Raises Forbidden or BadRequest."""
    wanted: dict[str, list[str]] = {}
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(PREFIX):
            wanted.setdefault(lower.removeprefix(PREFIX), []).append(value)
    if not wanted:
        return user
    name = wanted.pop("user", [""])[0]
    if not name:
        raise BadRequest(f"requested {sorted(wanted)} without impersonating a user")
    uid = wanted.pop("uid", [""])[0]
    groups = frozenset(wanted.pop("group", []))
    extra = {
        unquote(key.removeprefix(_EXTRA)).lower(): tuple(values)
        for key, values in wanted.items()
        if key.startswith(_EXTRA)
    }
    for attributes in _rights(name, uid, groups, extra):
        authorize(authorizer, user, attributes)
    account = split_service_account(name)
    if account is not None and not groups:
        groups = service_account_groups(account[0])
    if name == ANONYMOUS_NAME:
        groups |= {UNAUTHENTICATED}
    elif UNAUTHENTICATED not in groups:
        groups |= {AUTHENTICATED}
    return User(name, groups, uid, tuple(sorted(extra.items())))


def _rights(name: str, uid: str, groups: Iterable[str], extra: dict[str, tuple[str, ...]]) -> Iterable[Attributes]:
    account = split_service_account(name)
    if account is not None:
        yield Attributes("impersonate", "", "serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield Attributes("impersonate", "", "users", name=name)
    for group in sorted(groups):
        yield Attributes("impersonate", "", "groups", name=group)
    for key, values in sorted(extra.items()):
        for value in values:
            yield Attributes("impersonate", _IDENTITY, "userextras", key, name=value)
    if uid:
        yield Attributes("impersonate", _IDENTITY, "uids", name=uid)
