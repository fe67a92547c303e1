from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.client.cache import Cache, CacheMutated


def a_pod(name: str, node: str = "", version: int = 1, uid: str = "") -> corev1.Pod:
    meta = metav1.ObjectMeta(namespace="default", name=name, uid=uid or name, resource_version=str(version))
    return corev1.Pod(metadata=meta, spec=corev1.PodSpec(node_name=node))


def node_of(pod: corev1.Pod) -> Iterable[str]:
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def a_cache(detect: bool = False) -> Cache[corev1.Pod]:
    return Cache({"node": node_of}, detect_mutation=detect)


def names(pods: list[corev1.Pod]) -> set[str]:
    return {pod.metadata.name for pod in pods}


def test_an_index_follows_its_objects() -> None:
    cache = a_cache()
    cache.put(a_pod("a"))
    cache.put(a_pod("b", "node-1"))
    assert names(cache.by_index("node", "node-1")) == {"b"}
    cache.put(a_pod("a", "node-1", version=2))
    assert names(cache.by_index("node", "node-1")) == {"a", "b"}
    cache.put(a_pod("b", "node-2", version=2))
    cache.remove("default/a")
    assert cache.by_index("node", "node-1") == []
    assert cache.index_values("node") == ["node-2"], "empty entries do not stay"


def test_an_index_holds_the_newest_object_when_its_value_stays() -> None:
    cache = a_cache()
    cache.put(a_pod("a", "node-1", version=1))
    cache.put(a_pod("a", "node-1", version=2))
    assert [pod.metadata.resource_version for pod in cache.by_index("node", "node-1")] == ["2"]


def test_an_index_that_is_added_later_knows_what_is_there() -> None:
    cache = a_cache()
    cache.put(a_pod("a", "node-1"))
    cache.add_indexers({"uid": lambda pod: (pod.metadata.uid,), "node": node_of})
    assert names(cache.by_index("uid", "a")) == {"a"}
    with pytest.raises(ValueError, match="node"):
        cache.add_indexers({"node": lambda pod: ()})
    with pytest.raises(KeyError):
        cache.by_index("unknown", "x")


def test_the_same_version_is_no_change() -> None:
    cache = a_cache()
    cache.put(a_pod("a"))
    assert cache.put(a_pod("a")) is None
    assert cache.replace([a_pod("a")]) == []


def test_replace_tells_the_difference() -> None:
    cache = a_cache()
    cache.replace([a_pod("same"), a_pod("gone"), a_pod("changed"), a_pod("anew", uid="1")])
    changes = cache.replace([a_pod("same"), a_pod("changed", version=2), a_pod("anew", uid="2"), a_pod("new")])
    told = {(old and old.metadata.name, new and new.metadata.name) for old, new in changes}
    assert told == {("changed", "changed"), ("anew", None), (None, "anew"), (None, "new"), ("gone", None)}
    assert names(cache.list()) == {"same", "changed", "anew", "new"}


TOUCHES: dict[str, Callable[[Cache[corev1.Pod]], object]] = {
    "put": lambda cache: cache.put(a_pod("a", version=2)),
    "remove": lambda cache: cache.remove("default/a"),
    "check": lambda cache: cache.check_mutations(),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_who_changes_a_lent_object_is_found(touch: Callable[[Cache[corev1.Pod]], object]) -> None:
    cache = a_cache(detect=True)
    cache.put(a_pod("a"))
    cache.check_mutations()
    lent = cache.get("default/a")
    assert lent is not None
    lent.spec.node_name = "elsewhere"
    with pytest.raises(CacheMutated, match="Pod default/a"):
        touch(cache)


operations = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "n1", "n2", None])), max_size=40)


@given(operations)
def test_indexes_equal_a_scan_of_all_objects(steps: list[tuple[str, str | None]]) -> None:
    cache = a_cache(detect=True)
    for version, (name, node) in enumerate(steps):
        if node is None:
            cache.remove(f"default/{name}")
        else:
            cache.put(a_pod(name, node, version))
        for value in ("n1", "n2"):
            expected = {pod.metadata.name for pod in cache.list() if pod.spec.node_name == value}
            assert names(cache.by_index("node", value)) == expected
