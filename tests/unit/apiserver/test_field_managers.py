"""Who a write is noted down for."""

import pytest

from navarch.services.api.errors import Invalid
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import WriteOptions
from navarch.services.apiserver.registry.ownership import settled


def user(name: str, *groups: str) -> User:
    return User(name, frozenset(groups))


@pytest.mark.parametrize(
    ("who", "options", "manager"),
    [
        pytest.param(user("jane"), WriteOptions(field_manager="m", user_agent="kubectl/1"), "m", id="said"),
        pytest.param(user("jane"), WriteOptions(user_agent="kubectl/v1.36 (linux)"), "kubectl", id="user agent"),
        pytest.param(user("system:kube-scheduler"), WriteOptions(), "kube-scheduler", id="component"),
        pytest.param(user("system:node:n1", "system:nodes"), WriteOptions(), "kubelet", id="node"),
        pytest.param(user("system:serviceaccount:a:b"), WriteOptions(), "navarch", id="service account"),
        pytest.param(user("jane"), WriteOptions(), "navarch", id="nothing known"),
    ],
)
def test_the_manager_of_a_write(who: User, options: WriteOptions, manager: str) -> None:
    assert settled(who, options, "Create").field_manager == manager


@pytest.mark.parametrize(
    ("options", "is_apply", "field", "reason"),
    [
        (WriteOptions(), True, "fieldManager", "FieldValueRequired"),
        (WriteOptions(field_manager="x" * 129), False, "fieldManager", "FieldValueTooLong"),
        (WriteOptions(field_manager="a\tb"), False, "fieldManager", "FieldValueInvalid"),
        (WriteOptions(force=True), False, "force", "FieldValueForbidden"),
        (WriteOptions(force=False), False, "force", "FieldValueForbidden"),
    ],
)
def test_refuses(options: WriteOptions, is_apply: bool, field: str, reason: str) -> None:
    with pytest.raises(Invalid) as refusal:
        settled(user("jane"), options, "Patch", is_apply=is_apply)
    assert refusal.value.message.startswith('PatchOptions.meta.k8s.io "" is invalid')
    assert [(cause.field, cause.reason) for cause in refusal.value.causes] == [(field, reason)]
