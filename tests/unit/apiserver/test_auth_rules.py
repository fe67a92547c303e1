"""Who may do what: roles, components, nodes, impersonation."""

from typing import Any

import pytest

from navarch.services.api.errors import BadRequest, Forbidden
from navarch.services.apiserver.auth.authorizer import Attributes, authorize
from navarch.services.apiserver.auth.impersonation import impersonated
from navarch.services.apiserver.auth.policy import BY_GROUP, BY_USER
from navarch.services.apiserver.auth.roles import role
from navarch.services.apiserver.auth.rules import ComponentRules
from navarch.services.apiserver.auth.user import ANONYMOUS, User, split_service_account

BY_HAND = role("""
    get,list,watch pods pods/log leases@coordination.k8s.io
    update configmaps name=election in=kube-system
    get /healthz /openapi/*
    * widgets@example.org
    get */scale
""")


@pytest.mark.parametrize(
    ("wanted", "is_allowed"),
    [
        pytest.param(Attributes("get", "", "pods", namespace="a", name="b"), True, id="named"),
        pytest.param(Attributes("delete", "", "pods"), False, id="another verb"),
        pytest.param(Attributes("get", "", "pods", "log"), True, id="a part"),
        pytest.param(Attributes("get", "", "pods", "exec"), False, id="another part"),
        pytest.param(Attributes("get", "apps", "pods"), False, id="another group"),
        pytest.param(Attributes("list", "coordination.k8s.io", "leases"), True, id="a group"),
        pytest.param(Attributes("update", "", "configmaps", "", "kube-system", "election"), True, id="one object"),
        pytest.param(Attributes("update", "", "configmaps", "", "kube-system", "other"), False, id="another object"),
        pytest.param(Attributes("update", "", "configmaps", "", "default", "election"), False, id="elsewhere"),
        pytest.param(Attributes("list", "", "configmaps", "", "kube-system"), False, id="all of one"),
        pytest.param(Attributes("get", "example.org", "gadgets", "scale", "a", "b"), True, id="a part of all"),
        pytest.param(Attributes("get", "", "pods", "scale", "a", "b"), True, id="a part of all, of one that is named"),
        pytest.param(Attributes("update", "example.org", "gadgets", "scale", "a", "b"), False, id="its other verb"),
        pytest.param(Attributes("get", "example.org", "gadgets", "status", "a", "b"), False, id="its other part"),
        pytest.param(Attributes("frobnicate", "example.org", "widgets"), True, id="any verb"),
        pytest.param(Attributes("get", url="/healthz"), True, id="path"),
        pytest.param(Attributes("get", url="/healthz/etcd"), False, id="below a path"),
        pytest.param(Attributes("get", url="/openapi/v3"), True, id="below a path with a star"),
        pytest.param(Attributes("post", url="/healthz"), False, id="another verb on a path"),
    ],
)
def test_a_role_in_its_notation(wanted: Attributes, is_allowed: bool) -> None:
    assert BY_HAND.allows(wanted) is is_allowed


class Named:
    """Node n1 runs a Pod that names everything called "mine"."""

    def has(self, node: str, resource: str, namespace: str, name: str) -> bool:
        return (node, name) == ("n1", "mine")


RULES = ComponentRules(Named())
AUTHENTICATED = "system:authenticated"


def user(name: str, *groups: str) -> User:
    return User(name, frozenset({*groups, AUTHENTICATED}))


NODE = user("system:node:n1", "system:nodes")
AGENT = user("system:navarch-network:n1", "system:navarch-network")
ROBOT = user("system:serviceaccount:default:robot", "system:serviceaccounts")
LEASES = "coordination.k8s.io"
STORAGE = "storage.k8s.io"


@pytest.mark.parametrize(
    ("who", "wanted", "is_allowed"),
    [
        pytest.param(user("a", "system:masters"), Attributes("delete", "", "nodes", name="n"), True, id="master"),
        pytest.param(user("a", "system:masters"), Attributes("get", url="/metrics"), True, id="master, path"),
        pytest.param(user("jane"), Attributes("list", "", "pods"), False, id="stranger"),
        pytest.param(user("jane"), Attributes("get", url="/apis/apps/v1"), True, id="discovery"),
        pytest.param(user("jane"), Attributes("get", url="/openid/v1/jwks"), False, id="keys are for accounts"),
        pytest.param(ROBOT, Attributes("get", url="/openid/v1/jwks"), True, id="keys"),
        pytest.param(
            ROBOT, Attributes("create", "authorization.k8s.io", "selfsubjectaccessreviews"), True, id="about oneself"
        ),
        pytest.param(
            ROBOT, Attributes("create", "authorization.k8s.io", "subjectaccessreviews"), False, id="about others"
        ),
        pytest.param(ANONYMOUS, Attributes("get", url="/healthz"), True, id="anonymous health"),
        pytest.param(ANONYMOUS, Attributes("get", url="/apis"), False, id="anonymous discovery"),
        pytest.param(NODE, Attributes("get", "", "secrets", "", "default", "mine"), True, id="its Pod's Secret"),
        pytest.param(NODE, Attributes("get", "", "secrets", "", "default", "other"), False, id="another Secret"),
        pytest.param(NODE, Attributes("get", "", "persistentvolumes", name="mine"), True, id="its Pod's volume"),
        pytest.param(NODE, Attributes("get", "", "persistentvolumes", name="other"), False, id="another volume"),
        pytest.param(NODE, Attributes("get", STORAGE, "volumeattachments", name="mine"), True, id="attached to it"),
        pytest.param(NODE, Attributes("get", STORAGE, "volumeattachments", name="other"), False, id="to another"),
        pytest.param(NODE, Attributes("list", STORAGE, "volumeattachments"), False, id="all attachments"),
        pytest.param(NODE, Attributes("create", "", "serviceaccounts", "token", "default", "mine"), True, id="token"),
        pytest.param(
            NODE, Attributes("create", "", "serviceaccounts", "token", "default", "other"), False, id="another's token"
        ),
        pytest.param(NODE, Attributes("update", LEASES, "leases", "", "kube-node-lease", "n1"), True, id="its lease"),
        pytest.param(NODE, Attributes("update", LEASES, "leases", "", "kube-node-lease", "n2"), False, id="a lease"),
        pytest.param(
            user("system:kube-scheduler"), Attributes("get", "", "secrets", "", "a", "b"), False, id="scheduler, Secret"
        ),
        pytest.param(
            user("system:serviceaccount:kube-system:job-controller"),
            Attributes("update", "batch", "jobs", "status", "a", "b"),
            True,
            id="controller",
        ),
        pytest.param(
            user("system:serviceaccount:default:job-controller"),
            Attributes("update", "batch", "jobs", "status", "a", "b"),
            False,
            id="of the same name elsewhere",
        ),
        pytest.param(AGENT, Attributes("watch", "", "nodes"), True, id="network agent, all Nodes"),
        pytest.param(AGENT, Attributes("patch", "", "nodes", "status", "", "n1"), True, id="network agent, its Node"),
        pytest.param(AGENT, Attributes("patch", "", "nodes", "status", "", "n2"), False, id="network agent, another"),
        pytest.param(AGENT, Attributes("patch", "", "nodes", name="n1"), False, id="network agent, more than status"),
        pytest.param(AGENT, Attributes("create", "", "events", "", "default"), True, id="network agent, Event"),
        pytest.param(AGENT, Attributes("get", "", "pods", "", "default", "a"), False, id="network agent, Pod"),
        pytest.param(
            user("system:navarch-network:n1"), Attributes("list", "", "nodes"), False, id="network agent's name alone"
        ),
        pytest.param(
            user("system:node:n1"), Attributes("get", "", "nodes", name="n1"), False, id="a node's name alone"
        ),
    ],
)
def test_users(who: User, wanted: Attributes, is_allowed: bool) -> None:
    assert RULES.allows(who, wanted) is is_allowed


def test_every_role_can_be_listed() -> None:
    for found in (*BY_USER.values(), *(one for roles in BY_GROUP.values() for one in roles)):
        assert found.rules
        for rule in found.rules:
            assert rule.verbs
            assert rule.resources or rule.paths


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        pytest.param(
            Attributes("get", "", "pods", "log", "default", "web"),
            'pods/log "web" is forbidden: User "jane" cannot get resource "pods/log" in API group "" '
            'in the namespace "default"',
            id="part",
        ),
        pytest.param(
            Attributes("list", "apps", "deployments"),
            'deployments.apps is forbidden: User "jane" cannot list resource "deployments" in API group "apps" '
            "at the cluster scope",
            id="list",
        ),
        pytest.param(Attributes("get", url="/metrics"), 'forbidden: User "jane" cannot get path "/metrics"', id="path"),
    ],
)
def test_refusals_in_kubernetes_words(wanted: Attributes, message: str) -> None:
    with pytest.raises(Forbidden) as refused:
        authorize(RULES, user("jane"), wanted)
    assert refused.value.message == message


ADMIN = user("admin", "system:masters")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param([("Accept", "*/*")], ADMIN, id="none"),
        pytest.param([("Impersonate-User", "jane")], user("jane"), id="user"),
        pytest.param(
            [("impersonate-user", "jane"), ("Impersonate-Group", "a"), ("impersonate-group", "b")],
            user("jane", "a", "b"),
            id="groups",
        ),
        pytest.param(
            [("Impersonate-User", "system:serviceaccount:web:robot")],
            user("system:serviceaccount:web:robot", "system:serviceaccounts", "system:serviceaccounts:web"),
            id="account",
        ),
        pytest.param([("Impersonate-User", "system:anonymous")], ANONYMOUS, id="anonymous"),
        pytest.param(
            [("Impersonate-User", "jane"), ("Impersonate-Group", "system:unauthenticated")],
            User("jane", frozenset({"system:unauthenticated"})),
            id="nobody can be both",
        ),
        pytest.param(
            [("Impersonate-User", "jane"), ("Impersonate-Uid", "7"), ("Impersonate-Extra-Acme.com%2fProject", "x")],
            User("jane", frozenset({AUTHENTICATED}), "7", (("acme.com/project", ("x",)),)),
            id="extra",
        ),
    ],
)
def test_impersonation(headers: list[tuple[str, str]], expected: User) -> None:
    assert impersonated(RULES, ADMIN, headers) == expected


def test_impersonation_takes_rights() -> None:
    with pytest.raises(Forbidden, match='cannot impersonate resource "users"'):
        impersonated(RULES, user("jane"), [("Impersonate-User", "admin")])
    with pytest.raises(BadRequest):
        impersonated(RULES, ADMIN, [("Impersonate-Group", "system:masters")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("system:serviceaccount:a:b", ("a", "b")),
        ("system:serviceaccount:a", None),
        ("system:serviceaccount:a:b:c", None),
        ("a:b", None),
    ],
)
def test_names_of_service_accounts(name: str, expected: Any) -> None:
    assert split_service_account(name) == expected
