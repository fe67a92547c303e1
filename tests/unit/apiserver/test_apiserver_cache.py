"""The watch cache's core against a simple model, and its edges one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.fields import FieldSelector
from navarch.services.api.kinds import KINDS
from navarch.services.api.labels import Selector
from navarch.services.apiserver.cacher import cache as cache_module
from navarch.services.apiserver.cacher import subscription as subscription_module
from navarch.services.apiserver.cacher.cache import TooOld, WatchCache
from navarch.services.apiserver.cacher.events import WatchEvent
from navarch.services.apiserver.cacher.selection import Selection
from navarch.services.apiserver.cacher.subscription import Subscription
from navarch.services.apiserver.stored import StoredObject

POD = KINDS.of(corev1.Pod)


def stored(name: str, revision: int, *, namespace: str = "default", node: str = "", **labels: str) -> StoredObject:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = name, namespace
    pod.metadata.labels.update(labels)
    pod.spec.node_name = node
    return StoredObject.of_message(POD, pod, revision)


def put(cache: WatchCache, revision: int, name: str, **content: str) -> None:
    one = stored(name, revision, **content)
    cache.apply(one.key, one, revision)
    cache.advance(revision)


def remove(cache: WatchCache, revision: int, name: str) -> None:
    cache.apply(f"default/{name}", None, revision)
    cache.advance(revision)


def new_cache(ring_changes: int = 100) -> WatchCache:
    cache = WatchCache(namespaced=True, on_nodes=True, ring_changes=ring_changes)
    cache.reset([], 1)
    return cache


def subscribe(cache: WatchCache, selection: Selection, after: int = 1, limit: int = 1000) -> Subscription:
    subscription = Subscription(selection, after, lambda: None, limit)
    cache.subscribe(subscription)
    return subscription


def shown(events: list[WatchEvent]) -> list[tuple[str, str, int]]:
    return [(event.type.name, event.stored.name, event.stored.revision) for event in events]


def test_a_resumed_watch_sees_what_a_lasting_one_saw() -> None:
    cache = new_cache()
    lasting = subscribe(cache, Selection())
    put(cache, 2, "a")
    put(cache, 3, "b")
    put(cache, 4, "a", app="x")
    remove(cache, 5, "b")
    everything = shown(lasting.take())
    assert everything == [("ADDED", "a", 2), ("ADDED", "b", 3), ("MODIFIED", "a", 4), ("DELETED", "b", 5)]
    for after in range(1, 6):
        assert shown(subscribe(cache, Selection(), after).take()) == [one for one in everything if one[2] > after]


def test_a_version_ahead_of_the_cache_hides_what_lies_before_it() -> None:
    cache = new_cache()
    ahead = subscribe(cache, Selection(), after=3)
    put(cache, 3, "a")
    put(cache, 4, "b")
    assert shown(ahead.take()) == [("ADDED", "b", 4)]


@pytest.mark.parametrize(
    ("selection", "bucket"),
    [
        (Selection(), ("", "")),
        (Selection("default"), ("namespace", "default")),
        (Selection("default", fields=FieldSelector.parse("metadata.name=a")), ("name", ("default", "a"))),
        (Selection("", fields=FieldSelector.parse("metadata.name=a")), ("", "")),
        (Selection("", fields=FieldSelector.parse("spec.nodeName=n")), ("node", "n")),
        (Selection("", fields=FieldSelector.parse("spec.nodeName!=n")), ("", "")),
    ],
)
def test_buckets(selection: Selection, bucket: tuple[str, object]) -> None:
    assert selection.bucket() == bucket


def test_a_slow_watcher_is_ended_and_the_others_are_not() -> None:
    cache = new_cache()
    slow = subscribe(cache, Selection(), limit=2)
    fast = subscribe(cache, Selection())
    for revision in range(2, 6):
        put(cache, revision, f"a{revision}")
    assert (slow.ended, len(slow.take())) == ("slow", 2)
    assert (fast.ended, len(fast.take())) == ("", 4)
    assert list(cache.subscriptions()) == [fast]


def test_a_reset_ends_all_watchers() -> None:
    cache = new_cache()
    watcher = subscribe(cache, Selection())
    cache.reset([stored("a", 7)], 9)
    assert watcher.ended == "reset"
    assert [one.name for one in cache.select("")] == ["a"]
    with pytest.raises(TooOld, match=r"too old resource version: 8 \(9\)"):
        cache.since(8)


def test_the_ring_forgets_whole_revisions() -> None:
    cache = new_cache(ring_changes=2)
    for revision in range(2, 6):
        put(cache, revision, f"a{revision}")
    oldest = min(revision for revision in range(1, 6) if not raises(cache, revision))
    assert [change.revision for change in cache.since(oldest)] == list(range(oldest + 1, 6))


def test_the_ring_is_bounded_in_bytes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "RING_BYTES", 5_000)
    cache = new_cache(ring_changes=1000)
    for revision in range(2, 40):
        put(cache, revision, "a", text="x" * 1_000)
    oldest = min(revision for revision in range(1, 40) if not raises(cache, revision))
    kept = cache.since(oldest)
    assert [change.revision for change in kept] == list(range(oldest + 1, 40))
    assert 4 <= len(kept) < 10
    # One that is larger than all that is kept together.
    put(cache, 40, "b", text="x" * 20_000)
    assert raises(cache, 39)
    assert not raises(cache, 40)
    put(cache, 41, "c")
    assert [change.revision for change in cache.since(40)] == [41]


def test_a_watcher_that_lets_large_objects_wait_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "QUEUE_BYTES", 2_500)
    cache = new_cache()
    slow, quick = subscribe(cache, Selection()), subscribe(cache, Selection())
    for revision in range(2, 6):
        put(cache, revision, "a", text="x" * 1_000)
        quick.take()
    assert (slow.ended, len(slow.take()), quick.ended) == ("slow", 2, "")


def raises(cache: WatchCache, revision: int) -> bool:
    try:
        cache.since(revision)
    except TooOld:
        return True
    return False


def test_events_are_shared_by_watchers() -> None:
    cache = new_cache()
    watchers = [subscribe(cache, selection) for selection in (Selection(), Selection("default"), Selection())]
    put(cache, 2, "a")
    assert len({id(watcher.take()[0]) for watcher in watchers}) == 1


SELECTIONS = [
    Selection(),
    Selection("default"),
    Selection("other"),
    Selection("", labels=Selector.parse("app=x")),
    Selection("default", labels=Selector.parse("app!=x")),
    Selection("", fields=FieldSelector.parse("spec.nodeName=n1")),
    Selection("default", fields=FieldSelector.parse("metadata.name=a")),
]
WRITES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["default", "other"]),
        st.sampled_from(["", "x", "y"]),
        st.sampled_from(["", "n1", "n2"]),
        st.booleans(),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(WRITES)
def test_following_events_gives_the_same_objects_as_listing(writes: list[tuple[str, str, str, str, bool]]) -> None:
    cache = new_cache(ring_changes=8)
    watchers = [(selection, subscribe(cache, selection)) for selection in SELECTIONS]
    seen: list[dict[str, int]] = [{} for _ in SELECTIONS]
    for revision, (name, namespace, app, node, is_removal) in enumerate(writes, start=2):
        one = stored(name, revision, namespace=namespace, node=node, app=app)
        cache.apply(one.key, None if is_removal else one, revision)
        cache.advance(revision)
        for (selection, watcher), mine in zip(watchers, seen, strict=True):
            for event in watcher.take():
                assert event.stored.revision == revision
                if event.type.name == "DELETED":
                    del mine[event.stored.key]
                else:
                    assert (event.stored.key in mine) == (event.type.name == "MODIFIED")
                    mine[event.stored.key] = event.stored.revision
            found = list(cache.selected(selection))
            assert mine == {one.key: one.revision for one in found}
            assert [one.key for one in found] == sorted(one.key for one in found)
