"""Walks along schemas: compiled from descriptors, compared, merged, pruned; and the fast way over messages."""

import copy
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import codec
from navarch.services.api.kinds import KINDS
from navarch.services.api.managed_fields import messages, sets, walk
from navarch.services.api.managed_fields.apply import owned_changes
from navarch.services.api.managed_fields.descriptors import root_schema, schema_of
from navarch.services.api.managed_fields.schema import DEDUCED, LEAF, SET, Form, Schema, fields, keyed, map_of
from navarch.services.api.managed_fields.walk import ABSENT, Changes, TypeMismatch

PORTS = keyed(fields(port=LEAF, protocol=LEAF, name=LEAF), "port", "protocol", defaults={"protocol": "TCP"})
SCHEMA = fields(
    plain=LEAF,
    atomic=LEAF,
    inner=fields(a=LEAF, b=LEAF),
    labels=map_of(LEAF),
    tags=SET,
    items=keyed(fields(name=LEAF, value=LEAF, labels=map_of(LEAF)), "name"),
    ports=PORTS,
    free=DEDUCED,
)
ITEM = 'k:{"name":"x"}'
TCP = 'k:{"port":80,"protocol":"TCP"}'


def at(schema: Schema, *names: str) -> Schema:
    for name in names:
        found = schema.item if name == "*" else schema.member(name)
        assert found is not None, name
        schema = found
    return schema


class TestDescriptors:
    """What the traits of our contracts say."""

    POD = schema_of(corev1.Pod.DESCRIPTOR)

    @pytest.mark.parametrize(
        ("names", "form"),
        [
            (("spec",), Form.FIELDS),
            (("spec", "replicas"), None),
            (("spec", "nodeName"), Form.LEAF),
            (("spec", "nodeSelector"), Form.LEAF),
            (("spec", "tolerations"), Form.LEAF),
            (("spec", "containers"), Form.KEYED),
            (("spec", "containers", "*", "command"), Form.LEAF),
            (("spec", "containers", "*", "env", "*", "valueFrom", "secretKeyRef"), Form.LEAF),
            (("spec", "containers", "*", "env", "*", "valueFrom", "fieldRef"), Form.LEAF),
            (("spec", "containers", "*", "resources", "limits"), Form.FIELDS),
            (("spec", "containers", "*", "resources", "limits", "cpu"), Form.LEAF),
            (("spec", "containers", "*", "livenessProbe", "httpGet", "port"), Form.LEAF),
            (("spec", "ephemeralContainers", "*", "image"), Form.LEAF),
            (("spec", "volumes", "*", "configMap", "items"), Form.LEAF),
            (("spec", "affinity", "nodeAffinity"), Form.FIELDS),
            (("metadata", "finalizers"), Form.SET),
            (("metadata", "labels"), Form.FIELDS),
            (("metadata", "ownerReferences"), Form.KEYED),
            (("metadata", "creationTimestamp"), Form.LEAF),
            (("status", "podIPs"), Form.KEYED),
        ],
        ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
    )
    def test_pod(self, names: tuple[str, ...], form: Form | None) -> None:
        if form is None:
            assert at(self.POD, *names[:-1]).member(names[-1]) is None
        else:
            assert at(self.POD, *names).form is form

    def test_selectors_are_atomic(self) -> None:
        assert at(schema_of(appsv1.Deployment.DESCRIPTOR), "spec", "selector").form is Form.LEAF
        assert at(schema_of(corev1.Service.DESCRIPTOR), "spec", "selector").form is Form.LEAF
        policy = schema_of(networkingv1.NetworkPolicy.DESCRIPTOR)
        assert at(policy, "spec", "podSelector").form is Form.LEAF

    def test_a_field_may_overrule_its_type(self) -> None:
        volume = schema_of(corev1.PersistentVolume.DESCRIPTOR)
        assert at(volume, "spec", "claimRef", "name").form is Form.LEAF
        assert at(volume, "spec", "claimRef").form is Form.FIELDS

    def test_raw_json_is_deduced(self) -> None:
        assert at(schema_of(appsv1.ControllerRevision.DESCRIPTOR), "data").form is Form.DEDUCED

    @pytest.mark.parametrize(
        "kind", [kind for kind in KINDS if kind.key_prefix], ids=lambda kind: kind.qualified_resource
    )
    def test_every_kind_has_one(self, kind: Any) -> None:
        schema = root_schema(kind.message.DESCRIPTOR)
        assert {"apiVersion", "kind", "metadata"} <= schema.members.keys()
        walk.check(codec.to_json(kind.message()), schema)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"plain": 1, "atomic": [1, 2]}, [("f:atomic",), ("f:plain",)], id="leaves"),
        pytest.param({"inner": {"a": 1}}, [("f:inner", "f:a")], id="objects are not in it, their members are"),
        pytest.param({"inner": {}}, [("f:inner",)], id="but empty ones are"),
        pytest.param({"inner": None}, [("f:inner",)], id="and null is"),
        pytest.param({"labels": {"q": "1"}}, [("f:labels", "f:q")], id="entries of a map"),
        pytest.param({"tags": ["b", "a"]}, [("f:tags", 'v:"a"'), ("f:tags", 'v:"b"')], id="items of a set"),
        pytest.param({"tags": []}, [], id="an empty list is nothing"),
        pytest.param(
            {"items": [{"name": "x", "value": 1}]},
            [("f:items", ITEM), ("f:items", ITEM, "f:name"), ("f:items", ITEM, "f:value")],
            id="items by key, and what is in them",
        ),
        pytest.param(
            {"ports": [{"port": 80}]}, [("f:ports", TCP), ("f:ports", TCP, "f:port")], id="keys have defaults"
        ),
        pytest.param(
            {"free": {"a": {"b": [1]}}},
            [("f:free", "f:a"), ("f:free", "f:a", "f:b")],
            id="without schema by member",
        ),
        pytest.param({"free": [1]}, [("f:free",)], id="without schema lists are leaves"),
    ],
)
def test_what_an_applier_owns(value: Any, expected: list[sets.Path]) -> None:
    assert list(sets.paths(walk.fields_of(value, SCHEMA))) == expected


@pytest.mark.parametrize(
    ("old", "new", "added", "modified", "removed"),
    [
        pytest.param({"plain": 1}, {"plain": 1}, [], [], [], id="the same"),
        pytest.param({}, {"plain": 1}, [("f:plain",)], [], [], id="added"),
        pytest.param({"plain": 1}, {"plain": True}, [], [("f:plain",)], [], id="true is not 1"),
        pytest.param({"plain": 1}, {}, [], [], [("f:plain",)], id="removed"),
        pytest.param({}, {"inner": {"a": 1}}, [("f:inner",), ("f:inner", "f:a")], [], [], id="an object appears"),
        pytest.param({"inner": {"a": 1}}, {}, [], [], [("f:inner",), ("f:inner", "f:a")], id="an object disappears"),
        pytest.param({"inner": {}}, {"inner": {"a": 1}}, [("f:inner", "f:a")], [], [], id="an object fills"),
        pytest.param({"inner": None}, {"inner": {"a": 1}}, [("f:inner", "f:a")], [], [], id="null fills"),
        pytest.param({"inner": None}, {"inner": {}}, [], [("f:inner",)], [], id="null is not empty"),
        pytest.param({"atomic": [1]}, {"atomic": [1, 2]}, [], [("f:atomic",)], [], id="atomic as a whole"),
        pytest.param({"tags": ["a"]}, {"tags": ["b"]}, [("f:tags", 'v:"b"')], [], [("f:tags", 'v:"a"')], id="sets"),
        pytest.param({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, [], [], [], id="order of a set"),
        pytest.param(
            {"items": [{"name": "x", "value": 1}]},
            {"items": [{"name": "x", "value": 2}]},
            [],
            [("f:items", ITEM, "f:value")],
            [],
            id="an item changes",
        ),
        pytest.param(
            {"items": []},
            {"items": [{"name": "x", "value": 2}]},
            [("f:items", ITEM), ("f:items", ITEM, "f:name"), ("f:items", ITEM, "f:value")],
            [],
            [],
            id="an item appears",
        ),
        pytest.param(
            {"ports": [{"port": 80}]},
            {"ports": [{"port": 80, "protocol": "TCP"}]},
            [("f:ports", TCP, "f:protocol")],
            [],
            [],
            id="a default is spelled out",
        ),
        pytest.param({"free": {"a": 1}}, {"free": "x"}, [], [("f:free",)], [], id="without schema types may change"),
    ],
)
def test_what_differs(
    old: Any, new: Any, added: list[sets.Path], modified: list[sets.Path], removed: list[sets.Path]
) -> None:
    changes = walk.compare(old, new, SCHEMA)
    assert [list(sets.paths(one)) for one in changes] == [added, modified, removed]


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        pytest.param({"plain": 1}, {"plain": 2}, {"plain": 2}, id="leaves are replaced"),
        pytest.param({"plain": 1}, {"plain": None}, {"plain": None}, id="null too"),
        pytest.param({"inner": {"a": 1}}, {"inner": {"b": 2}}, {"inner": {"a": 1, "b": 2}}, id="objects merge"),
        pytest.param({"atomic": {"a": 1}}, {"atomic": {"b": 2}}, {"atomic": {"b": 2}}, id="atomic ones do not"),
        pytest.param({"tags": ["a"]}, {"tags": ["b"]}, {"tags": ["a", "b"]}, id="sets unite"),
        pytest.param({"tags": ["a", "b", "c"]}, {"tags": ["c", "a"]}, {"tags": ["b", "c", "a"]}, id="applied order"),
        pytest.param({"tags": ["a", "x", "b"]}, {"tags": ["a", "b"]}, {"tags": ["a", "x", "b"]}, id="others stay put"),
        pytest.param({"tags": ["x"]}, {"tags": ["a", "x"]}, {"tags": ["a", "x"]}, id="new ones before the shared"),
        pytest.param(
            {"items": [{"name": "x", "value": 1}, {"name": "y"}]},
            {"items": [{"name": "x", "labels": {"q": "1"}}]},
            {"items": [{"name": "x", "value": 1, "labels": {"q": "1"}}, {"name": "y"}]},
            id="items merge by key",
        ),
        pytest.param(
            {"ports": [{"port": 80, "protocol": "TCP", "name": "a"}]},
            {"ports": [{"port": 80, "name": "b"}]},
            {"ports": [{"port": 80, "protocol": "TCP", "name": "b"}]},
            id="keys have defaults",
        ),
        pytest.param({"free": {"a": [1]}}, {"free": {"a": [2]}}, {"free": {"a": [2]}}, id="free lists are atomic"),
    ],
)
def test_merging(live: Any, applied: Any, merged: Any) -> None:
    before = copy.deepcopy((live, applied))
    assert walk.merge(live, applied, SCHEMA) == merged
    assert (live, applied) == before


@pytest.mark.parametrize(
    ("value", "last", "kept", "left"),
    [
        pytest.param({"plain": 1, "atomic": 2}, [("f:plain",)], [], {"atomic": 2}, id="goes"),
        pytest.param({"plain": 1}, [("f:plain",)], [("f:plain",)], {"plain": 1}, id="kept by another applier"),
        pytest.param({"inner": {"a": 1, "b": 2}}, [("f:inner", "f:a")], [], ABSENT, id="an object nobody applies goes"),
        pytest.param(
            {"inner": {"a": 1, "b": 2}},
            [("f:inner", "f:a")],
            [("f:inner", "f:b")],
            {"inner": {"b": 2}},
            id="one that is applied in part stays",
        ),
        pytest.param(
            {"tags": ["a", "b"]}, [("f:tags", 'v:"a"')], [("f:tags", 'v:"b"')], {"tags": ["b"]}, id="item of a set"
        ),
        pytest.param(
            {"items": [{"name": "x", "value": 1}, {"name": "y"}], "plain": 1},
            [("f:items", ITEM), ("f:items", ITEM, "f:name")],
            [("f:plain",), ("f:items", 'k:{"name":"y"}')],
            {"items": [{"name": "y"}], "plain": 1},
            id="an item goes with what others put into it",
        ),
    ],
)
def test_pruning(value: Any, last: list[sets.Path], kept: list[sets.Path], left: Any) -> None:
    assert walk.prune(value, SCHEMA, sets.of_paths(*last), sets.of_paths(*kept)) == left


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param({"nope": 1}, ".nope: field not declared in schema", id="unknown member"),
        pytest.param({"inner": {"c": 1}}, ".inner.c: field not declared in schema", id="unknown member below"),
        pytest.param({"inner": "x"}, ".inner: expected map, got string", id="no object"),
        pytest.param({"tags": {}}, ".tags: expected list, got map", id="no list"),
        pytest.param({"tags": ["a", "a"]}, '.tags: duplicate entries for key ["a"]', id="twins in a set"),
        pytest.param(
            {"items": [{"value": 1}]},
            '.items: element 0: associative list with keys has an element that omits all key fields "name"',
            id="no key",
        ),
        pytest.param(
            {"ports": [{"port": 80}, {"port": 80, "protocol": "TCP"}]},
            '.ports: duplicate entries for key [{"port":80,"protocol":"TCP"}]',
            id="twins by default",
        ),
    ],
)
def test_refuses_what_the_schema_does_not_allow(value: Any, message: str) -> None:
    with pytest.raises(TypeMismatch) as refusal:
        walk.check(value, SCHEMA)
    assert str(refusal.value) == message


# ---- messages ----------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c-1", "d_2", 'e"f'])
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": st.sampled_from(["", "nginx", "redis"]),
        "command": st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "env": st.lists(st.fixed_dictionaries({"name": NAMES}, optional={"value": NAMES}), max_size=3),
        "ports": st.lists(
            st.fixed_dictionaries(
                {"containerPort": st.integers(1, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}
            ),
            max_size=3,
        ),
        "resources": st.fixed_dictionaries({}, optional={"limits": st.just({"cpu": "1"}), "requests": st.just({})}),
        "securityContext": st.fixed_dictionaries({}, optional={"privileged": st.booleans()}),
        "livenessProbe": st.just({"httpGet": {"path": "/", "port": 80}}),
        "stdin": st.booleans(),
    },
)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": NAMES},
            optional={
                "labels": st.dictionaries(NAMES, NAMES, max_size=2),
                "finalizers": st.lists(NAMES, max_size=3),
                "generation": st.integers(0, 2),
                "ownerReferences": st.just([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]),
                "deletionTimestamp": st.just("2026-01-01T00:00:00Z"),
            },
        )
    },
    optional={
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(CONTAINERS, max_size=3)},
            optional={
                "nodeName": NAMES,
                "hostNetwork": st.booleans(),
                "nodeSelector": st.dictionaries(NAMES, NAMES, max_size=2),
                "terminationGracePeriodSeconds": st.integers(0, 1),
                "securityContext": st.fixed_dictionaries({}, optional={"runAsUser": st.integers(0, 1)}),
                "volumes": st.just([{"name": "v", "emptyDir": {}}]),
                "ephemeralContainers": st.just([{"name": "debug", "image": "busybox"}]),
            },
        ),
        "status": st.fixed_dictionaries({}, optional={"phase": NAMES, "podIPs": st.just([{"ip": "10.0.0.1"}])}),
    },
)


def pod_of(value: Any) -> Message:
    return codec.from_json(value, corev1.Pod)


def by_json(old: Message, new: Message) -> Changes:
    return owned_changes(walk.compare(codec.to_json(old), codec.to_json(new), root_schema(new.DESCRIPTOR)))


class TestMessages:
    """The way over messages says what the way over their JSON says."""

    @given(PODS)
    def test_contents(self, value: Any) -> None:
        pod = pod_of(value)
        expected = by_json(corev1.Pod(), pod).taken
        assert messages.contents(pod) == {key: child for key, child in expected.items() if key != "f:status"}

    @given(PODS, PODS)
    def test_changes(self, old: Any, new: Any) -> None:
        before, after = pod_of(old), pod_of(new)
        assert messages.compare(before, after) == by_json(before, after)

    def test_ownership_of_a_deployment_as_kubernetes_writes_it(self) -> None:
        deployment = codec.from_json(
            {
                "metadata": {"name": "web", "labels": {"app": "web"}},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": "web"}},
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "web", "image": "nginx"}], "securityContext": {}},
                    },
                },
            },
            appsv1.Deployment,
        )
        assert messages.contents(deployment) == {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}},
                        "f:securityContext": {},
                    },
                },
            },
        }
