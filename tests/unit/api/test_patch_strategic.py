"""Strategic merge: directives one by one, and what a diff says, the patch does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import BadRequest
from navarch.services.api.patches import strategic

POD = corev1.Pod.DESCRIPTOR
SPEC = corev1.PodSpec.DESCRIPTOR
META = POD.fields_by_name["metadata"].message_type
DEPLOYMENT_SPEC = appsv1.DeploymentSpec.DESCRIPTOR


def two_containers() -> dict:
    return {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}


@pytest.mark.parametrize(
    ("schema", "original", "patch", "expected"),
    [
        pytest.param(SPEC, {"hostname": "x"}, {"hostname": None}, {}, id="null removes"),
        pytest.param(SPEC, {}, {"hostname": None}, {}, id="null of nothing"),
        pytest.param(
            SPEC,
            {"nodeSelector": {"a": "1"}},
            {"nodeSelector": {"b": "2"}},
            {"nodeSelector": {"a": "1", "b": "2"}},
            id="maps merge",
        ),
        pytest.param(
            SPEC,
            {},
            {"securityContext": {"runAsUser": 1, "fsGroup": None}},
            {"securityContext": {"runAsUser": 1}},
            id="nulls do not enter a new object",
        ),
        pytest.param(
            SPEC,
            two_containers(),
            {"containers": [{"name": "b", "image": "b:2"}]},
            {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]},
            id="items merge by key",
        ),
        pytest.param(
            SPEC,
            two_containers(),
            {"containers": [{"name": "c"}]},
            {"containers": [{"name": "c"}, *two_containers()["containers"]]},
            id="new items come first",
        ),
        pytest.param(
            SPEC,
            two_containers(),
            {"containers": [{"name": "a", "$patch": "delete"}]},
            {"containers": [{"name": "b", "image": "b:1"}]},
            id="item deleted",
        ),
        pytest.param(
            SPEC,
            two_containers(),
            {"containers": [{"$patch": "replace"}, {"name": "z"}]},
            {"containers": [{"name": "z"}]},
            id="list replaced",
        ),
        pytest.param(
            SPEC,
            two_containers(),
            {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
                "containers": [{"name": "c"}],
            },
            {"containers": [{"name": "b", "image": "b:1"}, {"name": "c"}, {"name": "a", "image": "a:1"}]},
            id="order set",
        ),
        pytest.param(
            SPEC,
            {"containers": [{"name": "a"}, {"name": "injected"}, {"name": "b"}]},
            {
                "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
                "containers": [{"name": "b", "image": "b:2"}],
            },
            {"containers": [{"name": "a"}, {"name": "injected"}, {"name": "b", "image": "b:2"}]},
            id="items of others keep their place",
        ),
        pytest.param(
            SPEC,
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
            id="atomic list replaced",
        ),
        pytest.param(
            META,
            {"finalizers": ["a/x", "a/y"]},
            {"finalizers": ["a/z", "a/x"]},
            {"finalizers": ["a/z", "a/x", "a/y"]},
            id="sets unite, what the patch names first",
        ),
        pytest.param(
            META,
            {"finalizers": ["a/x", "a/y"]},
            {"$deleteFromPrimitiveList/finalizers": ["a/x"]},
            {"finalizers": ["a/y"]},
            id="deleted from a set",
        ),
        pytest.param(
            SPEC,
            {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"$patch": "replace", "fsGroup": 2}},
            {"securityContext": {"fsGroup": 2}},
            id="object replaced",
        ),
        pytest.param(
            SPEC,
            {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"$patch": "delete"}},
            {"securityContext": {}},
            id="object emptied",
        ),
        pytest.param(
            DEPLOYMENT_SPEC,
            {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
            {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
            {"strategy": {"type": "Recreate"}},
            id="retain keys",
        ),
        pytest.param(
            SPEC,
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/"}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            id="a volume changes its source",
        ),
        pytest.param(
            None,
            {"list": [1], "map": {"a": 1}},
            {"list": [2], "map": {"b": 2}},
            {"list": [2], "map": {"a": 1, "b": 2}},
            id="without schema",
        ),
        pytest.param(SPEC, {"hostname": {"odd": 1}}, {"hostname": "x"}, {"hostname": "x"}, id="types differ"),
        pytest.param(
            SPEC,
            {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]}]},
            {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "$patch": "delete"}]}]},
            {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]},
            id="merged lists in merged lists",
        ),
        pytest.param(SPEC, two_containers(), {"containers": None}, {}, id="null removes a list"),
        pytest.param(
            SPEC, two_containers(), {"containers": []}, two_containers(), id="an empty merged list is nothing"
        ),
        pytest.param(
            SPEC, {"tolerations": [{"key": "a"}]}, {"tolerations": []}, {"tolerations": []}, id="atomic emptied"
        ),
        pytest.param(
            SPEC,
            {},
            {"containers": [{"name": "a"}, {"name": "b", "$patch": "delete"}]},
            {"containers": [{"name": "a"}]},
            id="directives do not enter a new list",
        ),
        pytest.param(
            META,
            {"finalizers": ["a/x", "a/y"]},
            {"$setElementOrder/finalizers": ["a/y", "a/z"], "finalizers": ["a/z"]},
            {"finalizers": ["a/x", "a/y", "a/z"]},
            id="order of plain values",
        ),
        pytest.param(
            META,
            {"finalizers": ["a/x", "a/y"]},
            {
                "$deleteFromPrimitiveList/finalizers": ["a/x"],
                "$setElementOrder/finalizers": ["a/z", "a/y"],
                "finalizers": ["a/z"],
            },
            {"finalizers": ["a/z", "a/y"]},
            id="deleted, added and ordered at once",
        ),
        pytest.param(
            META,
            {"ownerReferences": [{"uid": "1", "name": "a"}]},
            {"ownerReferences": [{"uid": "1", "controller": True}, {"uid": "2"}]},
            {"ownerReferences": [{"uid": "1", "name": "a", "controller": True}, {"uid": "2"}]},
            id="owners by uid",
        ),
        pytest.param(
            POD.fields_by_name["status"].message_type,
            {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Scheduled", "status": "True"}]},
            {"conditions": [{"type": "Ready", "status": "True"}]},
            {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Scheduled", "status": "True"}]},
            id="conditions by type",
        ),
        pytest.param(
            SPEC,
            {"securityContext": {"runAsUser": 1, "sysctls": [{"name": "a"}]}},
            {"securityContext": {"runAsUser": None}},
            {"securityContext": {"sysctls": [{"name": "a"}]}},
            id="null below",
        ),
    ],
)
def test_apply(schema, original, patch, expected):
    assert strategic.apply(original, patch, schema) == expected


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param({"containers": [{"image": "x"}]}, id="item without key"),
        pytest.param({"containers": ["x"]}, id="item is no object"),
        pytest.param({"$patch": "merge"}, id="unknown directive"),
        pytest.param({"containers": [{"name": "a", "$patch": "explode"}]}, id="unknown directive in item"),
        pytest.param({"containers": [{"name": "a", "$patch": "merge"}]}, id="lists cannot be told to merge"),
        pytest.param({"containers": [{"$patch": "delete"}]}, id="nothing named to delete"),
        pytest.param({"containers": [{"name": {}}]}, id="key is an object"),
        pytest.param({"$retainKeys": ["hostname"], "subdomain": "x"}, id="key not retained"),
        pytest.param({"$retainKeys": "hostname"}, id="retainKeys is no list"),
        pytest.param(
            {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}, id="order misses an item"
        ),
        pytest.param({"$setElementOrder/tolerations": []}, id="order of an atomic list"),
        pytest.param({"$deleteFromPrimitiveList/x": [{}]}, id="objects in a list of plain values"),
    ],
)
def test_malformed_patches_are_refused(patch):
    with pytest.raises(BadRequest):
        strategic.apply(two_containers(), patch, SPEC)


def test_apply_changes_neither_original_nor_patch():
    original, patch = two_containers(), {"containers": [{"name": "a", "image": "a:2", "env": [{"name": "X"}]}]}
    strategic.apply(original, patch, SPEC)
    assert original == two_containers()
    assert patch == {"containers": [{"name": "a", "image": "a:2", "env": [{"name": "X"}]}]}


def test_diff_of_a_scaled_container_names_only_the_change():
    modified = two_containers()
    modified["containers"][1]["image"] = "b:2"
    assert strategic.diff(two_containers(), modified, SPEC) == {
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b", "image": "b:2"}],
    }


def test_items_that_the_merge_key_does_not_tell_apart_are_not_lost():
    def service(name: str) -> dict:
        return {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "name": name}]}

    live = service("a")
    live["ports"][0]["targetPort"] = 53
    schema = corev1.ServiceSpec.DESCRIPTOR
    assert strategic.diff(live, service("a"), schema, original=service("a")) == {}
    patch = strategic.diff(live, service("b"), schema, original=service("a"))
    assert strategic.apply(live, patch, schema) == service("b")


words = st.sampled_from(["a", "b", "c", "d"])


def unique_by(key: str, item: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(item, max_size=4, unique_by=lambda entry: entry[key])


ports = st.lists(st.fixed_dictionaries({"containerPort": st.integers(1, 2)}, optional={"protocol": words}), max_size=3)
env = st.fixed_dictionaries({"name": words}, optional={"value": words})
containers = st.fixed_dictionaries(
    {"name": words},
    optional={
        "image": words,
        "env": unique_by("name", env),
        "ports": ports,
        "args": st.lists(words, max_size=3),
        "stdin": st.booleans(),
    },
)
volumes = st.one_of(
    st.fixed_dictionaries({"name": words, "emptyDir": st.just({})}),
    st.fixed_dictionaries({"name": words, "hostPath": st.fixed_dictionaries({"path": words})}),
)
tolerations = st.lists(st.fixed_dictionaries({}, optional={"key": words, "value": words}), max_size=3)
pods = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": st.dictionaries(words, words),
                "finalizers": st.lists(words, unique=True),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": unique_by("name", containers),
                "volumes": unique_by("name", volumes),
                "tolerations": tolerations,
                "nodeSelector": st.dictionaries(words, words),
                "hostNetwork": st.booleans(),
                "priority": st.integers(0, 1),
            },
        ),
    },
)


@given(pods, pods)
def test_applying_a_diff_gives_the_modified_object(original, modified):
    assert strategic.apply(original, strategic.diff(original, modified, POD), POD) == modified


@given(pods)
def test_no_change_is_an_empty_patch(pod):
    assert strategic.diff(pod, pod, POD) == {}
