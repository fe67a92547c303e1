"""How client-go's reflectors list and watch; every genuine component's informers are made of this."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1

pytestmark = pytest.mark.asyncio(loop_scope="module")
COUNT = 12


@pytest_asyncio.fixture(loop_scope="module")
async def maps(admin: Any, request: pytest.FixtureRequest) -> str:
    """The path of a collection with a dozen objects, in a namespace of its own."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60]
    await admin.post("/api/v1/namespaces", corev1.Namespace(metadata=metav1.ObjectMeta(name=name)))
    path = f"/api/v1/namespaces/{name}/configmaps"
    for number in range(COUNT):
        await admin.post(path, config_map(f"m-{number:02}"))
    return path


def config_map(name: str) -> corev1.ConfigMap:
    return corev1.ConfigMap(metadata=metav1.ObjectMeta(name=name))


async def test_a_list_of_any_age_comes_whole_whatever_the_limit(admin: Any, maps: str) -> None:
    """`limit=500&resourceVersion=0`: what comes out of the cache is not paged."""
    for query in ("limit=5&resourceVersion=0", "limit=5&resourceVersion=0&resourceVersionMatch=NotOlderThan"):
        listed = await admin.get(f"{maps}?{query}")
        assert (len(listed.items), listed.metadata.continue_token) == (COUNT, "")


async def test_pages_are_one_list(admin: Any, maps: str) -> None:
    first = await admin.get(f"{maps}?limit=5")
    assert (len(first.items), first.metadata.remaining_item_count) == (5, COUNT - 5)
    await admin.post(maps, config_map("m-99"))
    names, token = [one.metadata.name for one in first.items], first.metadata.continue_token
    while token:
        page = await admin.get(f"{maps}?limit=5&continue={token}")
        assert page.metadata.resource_version == first.metadata.resource_version
        names += [one.metadata.name for one in page.items]
        token = page.metadata.continue_token
    assert names == [f"m-{number:02}" for number in range(COUNT)]


async def test_list_then_watch_misses_nothing(admin: Any, maps: str) -> None:
    listed = await admin.get(f"{maps}?limit=500&resourceVersion=0")
    await admin.post(maps, config_map("new"))
    query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds=400&resourceVersion={listed.metadata.resource_version}"
    async with admin.watch(f"{maps}?{query}") as events:
        kind, one = await events.next()
    assert (kind, one.metadata.name) == ("ADDED", "new")


async def test_a_watch_list_is_a_list_in_a_stream(admin: Any, maps: str) -> None:
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with admin.watch(f"{maps}?{query}") as events:
        *first, (_, bookmark) = await events.until("BOOKMARK")
        assert [(kind, one.metadata.name) for kind, one in first] == [
            ("ADDED", f"m-{number:02}") for number in range(COUNT)
        ]
        assert bookmark.metadata.annotations["k8s.io/initial-events-end"] == "true"
        await admin.post(maps, config_map("after"))
        assert (await events.next())[1].metadata.name == "after"
    resumed = f"{maps}?watch=true&resourceVersion={bookmark.metadata.resource_version}"
    async with admin.watch(resumed) as events:
        assert (await events.next())[1].metadata.name == "after"


@pytest.mark.parametrize(
    "query",
    [
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true",
        "resourceVersionMatch=NotOlderThan",
    ],
)
async def test_half_a_watch_list_is_refused(admin: Any, query: str) -> None:
    answer = await admin.ask("GET", f"/api/v1/configmaps?watch=true&{query}")
    assert answer.refusal == (422, "Invalid")


async def test_history_that_is_gone(admin: Any, door: Any, maps: str) -> None:
    """A page or an exact list of it is refused, and the reflector begins anew."""
    first = await admin.get(f"{maps}?limit=5")
    await admin.post(maps, config_map("z-later"))
    newest = (await admin.get(maps)).metadata.resource_version
    await door.compact(newest)
    token = first.metadata.continue_token
    gone = await admin.ask("GET", f"{maps}?limit=5&continue={token}")
    assert gone.refusal == (410, "Expired")
    exact = f"{maps}?resourceVersion={first.metadata.resource_version}&resourceVersionMatch=Exact"
    assert (await admin.ask("GET", exact)).refusal == (410, "Expired")


async def test_a_watch_ends_when_it_is_told_to(admin: Any, maps: str) -> None:
    async with admin.watch(f"{maps}?watch=true&resourceVersion=0&timeoutSeconds=1&allowWatchBookmarks=true") as events:
        seen = []
        while True:
            try:
                seen.append(await events.next())
            except asyncio.IncompleteReadError as end:
                assert end.partial == b""
                break
    assert len([one for kind, one in seen if kind == "ADDED"]) == COUNT


async def test_a_list_from_the_future_is_a_timeout(admin: Any, maps: str) -> None:
    """The reflector of another server's cluster: the cause tells it to list anew."""
    answer = await admin.ask("GET", f"{maps}?resourceVersion=999999999&resourceVersionMatch=NotOlderThan")
    assert answer.refusal == (504, "Timeout")
    causes = [cause.reason for cause in answer.message.details.causes]
    assert causes == ["ResourceVersionTooLarge"]
