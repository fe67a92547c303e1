"""List and Watch, through the door."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.client.client import Client, WatchEvent

ConfigMap = corev1.ConfigMap
# The server's own, there in every cluster.
OWN = "extension-apiserver-authentication"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def config_map(name: str, namespace: str = "default", **labels: str) -> ConfigMap:
    made = ConfigMap()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.metadata.labels.update(labels)
    return made


def pod(name: str, node: str = "") -> corev1.Pod:
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.containers.add(name="main", image="example.org/image:1")
    made.spec.node_name = node
    return made


def names(items: Any) -> list[str]:
    return [item.metadata.name for item in items if item.metadata.name != OWN]


async def take(stream: Any, count: int) -> list[tuple[str, str]]:
    """The next events as (type, name); bookmarks have no name."""
    events: list[tuple[str, str]] = []
    async with asyncio.timeout(30):
        while len(events) < count:
            event: WatchEvent[Any] = await anext(stream)
            if event.object.metadata.name != OWN:
                events.append((event.type, event.object.metadata.name))
    return events


class TestList:
    async def test_sees_every_write_before_it(self, client: Client) -> None:
        for index in range(20):
            await client.create(config_map(f"a{index:02}"))
            assert len((await client.list(ConfigMap, "default")).items) == index + 1

    async def test_of_one_namespace_or_all(self, client: Client) -> None:
        await client.create(config_map("a"))
        await client.create(config_map("b", "kube-system"))
        assert names((await client.list(ConfigMap, "default")).items) == ["a"]
        assert names((await client.list(ConfigMap)).items) == ["a", "b"]

    @pytest.mark.parametrize(
        ("selectors", "found"),
        [
            ({"label_selector": "app=x"}, ["a", "b"]),
            ({"label_selector": "app=x,tier!=back"}, ["a"]),
            ({"label_selector": "app in (y)"}, ["c"]),
            ({"field_selector": "metadata.name=b"}, ["b"]),
            ({"field_selector": "metadata.name!=b", "label_selector": "app"}, ["a", "c"]),
            ({"field_selector": "metadata.name=zzz"}, []),
        ],
    )
    @pytest.mark.parametrize("namespace", ["", "default"])
    async def test_selectors(self, client: Client, selectors: dict[str, Any], found: list[str], namespace: str) -> None:
        await client.create(config_map("a", app="x"))
        await client.create(config_map("b", app="x", tier="back"))
        await client.create(config_map("c", app="y"))
        assert names((await client.list(ConfigMap, namespace, **selectors)).items) == found

    @pytest.mark.parametrize("selector", ["", "app=x"])
    async def test_pages_are_one_moment(self, client: Client, selector: str) -> None:
        for index in range(7):
            await client.create(config_map(f"a{index}", app="x"))
        page = await client.list(ConfigMap, "default", limit=3, label_selector=selector)
        version = page.resource_version
        assert page.remaining_item_count == (None if selector else 4)
        await client.delete(ConfigMap, "a5", "default")
        await client.create(config_map("a9", app="x"))
        found = names(page.items)
        while page.continue_token:
            page = await client.list(
                ConfigMap, "default", limit=3, label_selector=selector, continue_token=page.continue_token
            )
            assert page.resource_version == version
            found += names(page.items)
        assert found == [f"a{index}" for index in range(7)]

    async def test_exact_and_not_older(self, client: Client) -> None:
        first = await client.create(config_map("a"))
        version = first.metadata.resource_version
        second = await client.create(config_map("b"))
        exact = await client.list(ConfigMap, resource_version=version, resource_version_match="Exact")
        assert (names(exact.items), exact.resource_version) == (["a"], version)
        newer = await client.list(ConfigMap, resource_version=second.metadata.resource_version)
        assert names(newer.items) == ["a", "b"]
        assert set(names((await client.list(ConfigMap, resource_version="0")).items)) <= {"a", "b"}

    async def test_compacted_history_is_expired(self, cluster: Any) -> None:
        client: Client = cluster.client
        for name in ("a", "b", "c"):
            last = await client.create(config_map(name))
        page = await client.list(ConfigMap, limit=1)
        await client.create(config_map("d"))
        latest = await client.create(config_map("e"))
        await cluster.compact(latest.metadata.resource_version)
        with pytest.raises(errors.Expired, match="continue parameter is too old") as refusal:
            await client.list(ConfigMap, limit=1, continue_token=page.continue_token)
        rest = await client.list(ConfigMap, continue_token=refusal.value.continue_token)
        assert names(rest.items) == ["b", "c", "d", "e"]
        version = last.metadata.resource_version
        with pytest.raises(errors.Expired, match="resourceVersion for the provided list is too old"):
            await client.list(ConfigMap, resource_version=version, resource_version_match="Exact")

    @pytest.mark.parametrize(
        "options",
        [
            {"resource_version": "x"},
            {"resource_version": "-1"},
            {"continue_token": "!!!"},
            {"continue_token": "e30"},
            {"limit": -1},
            {"label_selector": "a b"},
            {"field_selector": "spec.x=1"},
        ],
        ids=str,
    )
    async def test_bad_requests(self, client: Client, options: dict[str, Any]) -> None:
        with pytest.raises(errors.BadRequest):
            await client.list(ConfigMap, **options)

    @pytest.mark.parametrize("version", ["", "0"])
    async def test_options_that_contradict_each_other(self, client: Client, version: str) -> None:
        with pytest.raises(errors.Invalid, match="resourceVersionMatch: Forbidden"):
            await client.list(ConfigMap, resource_version=version, resource_version_match="Exact")

    async def test_a_version_from_the_future_times_out(self, client: Client) -> None:
        with pytest.raises(errors.Timeout, match="Too large resource version: 999999"):
            await client.get(ConfigMap, "a", "default", resource_version="999999")


class TestWatch:
    async def test_begins_with_what_is_there(self, client: Client) -> None:
        await client.create(config_map("a"))
        async with aclosing(client.watch(ConfigMap, "default")) as stream:
            assert await take(stream, 1) == [("ADDED", "a")]
            await client.patch(ConfigMap, "a", "default", {"data": {"k": "v"}}, "merge")
            await client.delete(ConfigMap, "a", "default")
            assert await take(stream, 2) == [("MODIFIED", "a"), ("DELETED", "a")]

    async def test_initial_events_end_with_a_bookmark(self, client: Client) -> None:
        await client.create(config_map("a"))
        async with aclosing(client.watch(ConfigMap, "default", send_initial_events=True)) as stream:
            assert await take(stream, 1) == [("ADDED", "a")]
            bookmark = await anext(stream)
            assert bookmark.type == "BOOKMARK"
            assert bookmark.object.metadata.annotations[INITIAL_EVENTS_END] == "true"

    async def test_goes_on_after_a_version(self, client: Client) -> None:
        made = await client.create(config_map("a"))
        await client.create(config_map("b"))
        version = made.metadata.resource_version
        async with aclosing(client.watch(ConfigMap, resource_version=version)) as stream:
            assert await take(stream, 1) == [("ADDED", "b")]

    async def test_deleted_shows_the_last_state_at_the_deletion(self, client: Client) -> None:
        made = await client.create(config_map("a", app="x"))
        async with aclosing(client.watch(ConfigMap, resource_version=made.metadata.resource_version)) as stream:
            await client.delete(ConfigMap, "a", "default")
            event = await anext(stream)
            assert (event.type, dict(event.object.metadata.labels)) == ("DELETED", {"app": "x"})
            assert int(event.object.metadata.resource_version) > int(made.metadata.resource_version)

    async def test_labels_that_come_and_go(self, client: Client) -> None:
        version = (await client.create(config_map("a"))).metadata.resource_version
        async with aclosing(
            client.watch(ConfigMap, "default", label_selector="app=x", resource_version=version)
        ) as stream:
            for value in ("x", "y", "x"):
                await client.patch(ConfigMap, "a", "default", {"metadata": {"labels": {"app": value}}}, "merge")
            await client.delete(ConfigMap, "a", "default")
            assert await take(stream, 4) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]

    async def test_pods_of_a_node(self, client: Client) -> None:
        version = (await client.create(pod("other", node="n2"))).metadata.resource_version
        async with aclosing(
            client.watch(corev1.Pod, field_selector="spec.nodeName=n1", resource_version=version)
        ) as stream:
            await client.create(pod("web"))
            await client.bind("default", "web", "n1")
            await client.delete(corev1.Pod, "web", "default", grace_period_seconds=0)
            assert await take(stream, 2) == [("ADDED", "web"), ("DELETED", "web")]

    async def test_of_one_object(self, client: Client) -> None:
        version = (await client.create(config_map("a"))).metadata.resource_version
        selector = "metadata.name=b"
        async with aclosing(
            client.watch(ConfigMap, "default", field_selector=selector, resource_version=version)
        ) as stream:
            for name in ("c", "b"):
                await client.create(config_map(name))
            assert await take(stream, 1) == [("ADDED", "b")]

    async def test_resumes_from_before_the_server_was_started(self, cluster: Any) -> None:
        version = (await cluster.client.create(config_map("a"))).metadata.resource_version
        await cluster.client.delete(ConfigMap, "a", "default")
        other = await cluster.another_server()
        admin = cluster.credentials("kubernetes-admin", "system:masters")
        client = Client.connect(f"127.0.0.1:{other.port}", admin)
        async with aclosing(client.watch(ConfigMap, resource_version=version)) as stream:
            assert await take(stream, 1) == [("DELETED", "a")]
        await client.close()

    async def test_too_old_a_version_is_expired(self, cluster: Any) -> None:
        client: Client = cluster.client
        first = await client.create(config_map("a"))
        last = await client.create(config_map("b"))
        await cluster.compact(last.metadata.resource_version)
        with pytest.raises(errors.Expired, match="too old resource version: "):
            async for _ in client.watch(ConfigMap, resource_version=str(int(first.metadata.resource_version) - 1)):
                pass
        async with aclosing(client.watch(ConfigMap, resource_version=last.metadata.resource_version)) as stream:
            await client.delete(ConfigMap, "a", "default")
            assert await take(stream, 1) == [("DELETED", "a")]

    async def test_ends_at_its_timeout(self, client: Client) -> None:
        assert [event async for event in client.watch(corev1.Pod, timeout_seconds=1)] == []

    async def test_many_watchers_see_the_same_order(self, client: Client) -> None:
        streams = [client.watch(ConfigMap, "default", send_initial_events=True) for _ in range(20)]
        for stream in streams:
            assert (await anext(stream)).type == "BOOKMARK"
        await asyncio.gather(*(client.create(config_map(f"a{index}")) for index in range(50)))
        seen = await asyncio.gather(*(take(stream, 50) for stream in streams))
        assert all(one == seen[0] for one in seen)
        for stream in streams:
            await stream.aclose()


async def test_a_damaged_value_does_not_take_its_resource_down(cluster: Any) -> None:
    client: Client = cluster.client
    await client.create(config_map("a"))
    key = b"/registry/configmaps/default/"
    for name, value in ((b"bad", b"k8s\0\xff\xff"), (b"\xff\xfe", b"rubbish"), (b"z", b"")):
        await cluster.write(key + name, value)
    assert names((await client.list(ConfigMap, "default")).items) == ["a"]
    assert names((await client.list(ConfigMap, "default", limit=1)).items) == ["a"]
    with pytest.raises(errors.ApiError):
        await client.get(ConfigMap, "bad", "default")
    other = await cluster.another_server()
    restarted = Client.connect(f"127.0.0.1:{other.port}", cluster.credentials("x", "system:masters"))
    assert names((await restarted.list(ConfigMap)).items) == ["a"]
    await restarted.close()
