"""Watches through the Kubernetes door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import envelope

MAPS = "/api/v1/namespaces/default/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"


@asynccontextmanager
async def watching(rest: Any, query: str, accept: str = "application/json") -> AsyncIterator[Any]:
    async with rest.session.get(f"{rest.url}{MAPS}?watch=true{query}", headers={"Accept": accept}) as response:
        assert response.status == 200
        yield response


async def next_event(response: Any) -> Any:
    async with asyncio.timeout(10):
        return orjson.loads(await response.content.readline())


async def test_the_life_of_an_object(rest: Any) -> None:
    await rest.make(MAPS, "old")
    async with watching(rest, "") as response:
        first = await next_event(response)
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "old")
        assert first["object"]["kind"] == "ConfigMap"
        made = await rest.make(MAPS, "a", data={"x": "1"})
        assert await next_event(response) == {"type": "ADDED", "object": made}
        await rest.ask("PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, Content_Type="application/merge-patch+json")
        assert (await next_event(response))["object"]["data"] == {"x": "2"}
        await rest.ask("DELETE", f"{MAPS}/a")
        gone = await next_event(response)
        assert gone["type"] == "DELETED"
        assert int(gone["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_resuming_shows_what_came_after(rest: Any) -> None:
    made = await rest.make(MAPS, "a")
    later = await rest.make(MAPS, "b")
    async with watching(rest, f"&resourceVersion={made['metadata']['resourceVersion']}") as response:
        assert (await next_event(response))["object"] == later


async def test_initial_events_end_with_a_bookmark(rest: Any) -> None:
    await rest.make(MAPS, "a")
    query = "&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    async with watching(rest, query) as response:
        assert (await next_event(response))["type"] == "ADDED"
        mark = await next_event(response)
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert mark["object"]["kind"] == "ConfigMap"


async def test_a_timeout_ends_the_stream(rest: Any) -> None:
    async with watching(rest, "&timeoutSeconds=1") as response:
        assert await response.read() == b""


async def test_history_that_is_gone_is_an_error_event_or_a_status(rest: Any, cluster: Any) -> None:
    made = await rest.make(MAPS, "a")
    last = await rest.make(MAPS, "b")
    await cluster.compact(last["metadata"]["resourceVersion"])
    other = await cluster.another_server()
    url = f"https://localhost:{other.rest_port}{MAPS}?watch=1&resourceVersion=1"
    async with rest.session.get(url) as response:
        answer = orjson.loads(await response.content.readline())
    status = answer["object"] if answer.get("type") == "ERROR" else answer
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "Expired", 410)
    assert "too old resource version" in status["message"]
    assert made


async def test_one_object_by_the_old_path_and_by_field(rest: Any) -> None:
    await rest.make(MAPS, "a")
    await rest.make(MAPS, "b")
    async with rest.session.get(
        f"{rest.url}/api/v1/watch/namespaces/default/configmaps/b?timeoutSeconds=1"
    ) as response:
        assert (await next_event(response))["object"]["metadata"]["name"] == "b"
        assert await response.read() == b""
    async with watching(rest, "&fieldSelector=metadata.name%3Da&timeoutSeconds=1") as response:
        assert (await next_event(response))["object"]["metadata"]["name"] == "a"
        assert await response.read() == b""


async def read_frame(response: Any) -> metav1.WatchEvent:
    async with asyncio.timeout(10):
        size = int.from_bytes(await response.content.readexactly(4), "big")
        return metav1.WatchEvent.FromString(await response.content.readexactly(size))


async def test_protobuf_frames(rest: Any) -> None:
    await rest.make(MAPS, "a", data={"x": "1"})
    async with watching(rest, "", f"{PROTOBUF};stream=watch, {PROTOBUF}") as response:
        assert response.headers["Content-Type"] == f"{PROTOBUF};stream=watch"
        event = await read_frame(response)
        assert event.type == "ADDED"
        config = envelope.decode(event.object.raw)
        assert isinstance(config, corev1.ConfigMap)
        assert (config.metadata.name, dict(config.data)) == ("a", {"x": "1"})


async def test_tables_and_metadata(rest: Any) -> None:
    await rest.make(MAPS, "a", data={"x": "1"})
    async with watching(rest, "", "application/json;as=Table;v=v1;g=meta.k8s.io") as response:
        first = (await next_event(response))["object"]
        assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
        await rest.make(MAPS, "b")
        second = (await next_event(response))["object"]
        assert not second.get("columnDefinitions")
        assert second["rows"][0]["cells"][0] == "b"
    async with watching(rest, "", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io") as response:
        partial = (await next_event(response))["object"]
        assert (partial["kind"], partial["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
        assert "data" not in partial


async def test_a_watcher_that_leaves_is_forgotten(rest: Any, cluster: Any) -> None:
    async with watching(rest, "") as response:
        await rest.make(MAPS, "a")
        await next_event(response)
    metrics_free = await rest.get(f"{MAPS}/a")
    assert metrics_free.status == 200


async def test_a_server_that_stops_ends_its_watches_well(rest: Any, cluster: Any) -> None:
    other = await cluster.another_server()
    url = f"https://localhost:{other.rest_port}{MAPS}?watch=1"
    async with rest.session.get(url) as response:
        await other.stop()
        # A stream that was cut off would raise.
        assert await response.read() == b""


async def test_a_watcher_that_does_not_read_loses_nothing_that_it_can_still_get(rest: Any) -> None:
    async with watching(rest, "") as response:
        for number in range(30):
            await rest.make(MAPS, f"m{number:02d}", data={"x": "y" * 100_000})
        names = [(await next_event(response))["object"]["metadata"]["name"] for _ in range(30)]
    assert names == [f"m{number:02d}" for number in range(30)]
