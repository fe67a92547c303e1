"""The past of objects: reads at a revision or a time, the history of one object, and how much of it is kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec.times import format_micros
from navarch.services.api.errors import BadRequest, Expired, Forbidden, NotFound
from navarch.services.apiserver.storage import moments
from navarch.services.apiserver.storage.compaction import Compactor
from navarch.services.apiserver.storage.etcd import Etcd
from navarch.services.base.clock import SystemClock

CLOCK = SystemClock()


def config_map(name: str, namespace: str = "default", labels: dict[str, str] | None = None, **data: str) -> Any:
    made = corev1.ConfigMap(data=data)
    made.metadata.name, made.metadata.namespace = name, namespace
    made.metadata.labels.update(labels or {})
    return made


def version(one: Any) -> str:
    return str(one.metadata.resource_version)


def text(unix_s: float) -> str:
    return format_micros(int(unix_s), int(unix_s % 1 * 1e9))


async def eventually(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """What is looked at, once it is as wanted."""
    async with asyncio.timeout(30):
        while not wanted(found := await look()):
            await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def etcd(cluster: Any) -> Any:
    client = Etcd(cluster.store.split(","), None)
    await client.probe()
    yield client
    await client.close()


async def noted_since(etcd: Etcd, obj: Any) -> moments.Moment:
    """The first note of the time after an object was written."""
    found: moments.Moment = await eventually(
        lambda: moments.last_noted(etcd), lambda one: one.revision > int(version(obj))
    )
    return found


class TestAt:
    async def test_an_object_at_a_revision(self, cluster: Any) -> None:
        first = await cluster.client.create(config_map("a", key="1"))
        first.data["key"] = "2"
        second = await cluster.client.update(first)
        for at, value in ((version(first), "1"), (version(second), "2")):
            found = await cluster.client.get(corev1.ConfigMap, "a", "default", at=at)
            assert (found.data["key"], version(found)) == (value, at)

    async def test_an_object_that_is_gone(self, cluster: Any) -> None:
        made = await cluster.client.create(config_map("a", key="1"))
        await cluster.client.delete(corev1.ConfigMap, "a", "default")
        assert (await cluster.client.get(corev1.ConfigMap, "a", "default", at=version(made))).data["key"] == "1"
        with pytest.raises(NotFound):
            await cluster.client.get(corev1.ConfigMap, "a", "default", at=str(int(version(made)) - 1))

    async def test_an_object_at_a_time(self, cluster: Any, etcd: Etcd) -> None:
        made = await cluster.client.create(config_map("a", key="1"))
        noted = await noted_since(etcd, made)
        made.data["key"] = "2"
        changed = await cluster.client.update(made)
        after = await noted_since(etcd, changed)
        found = await cluster.client.get(corev1.ConfigMap, "a", "default", at=text(noted.unix_s + 0.001))
        assert found.data["key"] == "1"
        found = await cluster.client.get(corev1.ConfigMap, "a", "default", at=text(after.unix_s + 0.001))
        assert found.data["key"] == "2"
        assert (await cluster.client.get(corev1.ConfigMap, "a", "default", at="0s")).data["key"] == "2"

    async def test_a_list_with_selectors_and_pages(self, cluster: Any) -> None:
        for number in range(5):
            made = await cluster.client.create(config_map(f"a{number}", labels={"even": str(number % 2 == 0)}))
        for number in range(5):
            await cluster.client.delete(corev1.ConfigMap, f"a{number}", "default")
        listed = cluster.client.list
        past = await listed(corev1.ConfigMap, "default", label_selector="even=True", at=version(made))
        assert [one.metadata.name for one in past.items] == ["a0", "a2", "a4"]
        assert past.resource_version == version(made)
        names, token = [], ""
        while True:
            page = await listed(corev1.ConfigMap, "default", limit=2, continue_token=token, at=version(made))
            names += [one.metadata.name for one in page.items if one.metadata.name.startswith("a")]
            token = page.continue_token
            if not token:
                break
        assert names == [f"a{number}" for number in range(5)]
        assert not [one for one in (await listed(corev1.ConfigMap, "default")).items if one.metadata.name[0] == "a"]

    @pytest.mark.parametrize(
        ("at", "words"),
        [
            pytest.param("999999999999", "is in the future", id="revision to come"),
            pytest.param("2100-01-01T00:00:00Z", "is in the future", id="time to come"),
            pytest.param("-5m", "is in the future", id="negative age"),
            pytest.param("0", "count from 1", id="revision 0"),
            pytest.param("9" * 30, "out of range", id="too large"),
            pytest.param("yesterday", "RFC 3339", id="words"),
            pytest.param("2026-02-30T00:00:00Z", "RFC 3339", id="no such day"),
        ],
    )
    async def test_what_is_refused(self, cluster: Any, at: str, words: str) -> None:
        with pytest.raises(BadRequest, match=words):
            await cluster.client.get(corev1.Namespace, "default", at=at)
        with pytest.raises(BadRequest, match=words):
            await cluster.client.list(corev1.Namespace, at=at)

    async def test_not_together_with_a_resource_version(self, cluster: Any) -> None:
        with pytest.raises(BadRequest, match="exclude each other"):
            await cluster.client.get(corev1.Namespace, "default", at="5", resource_version="5")
        with pytest.raises(BadRequest, match="exclude each other"):
            await cluster.client.list(corev1.Namespace, at="5", resource_version="5")

    async def test_before_the_history(self, cluster: Any, etcd: Etcd) -> None:
        made = await cluster.client.create(config_map("a"))
        noted = await noted_since(etcd, made)
        await cluster.compact(str(noted.revision))
        for at in (version(made), "1000h", "2020-01-01T00:00:00Z"):
            with pytest.raises(Expired, match=f"begins at revision {noted.revision}, 2"):
                await cluster.client.get(corev1.ConfigMap, "a", "default", at=at)
            with pytest.raises(Expired, match=f"begins at revision {noted.revision}, 2"):
                await cluster.client.list(corev1.ConfigMap, at=at)

    async def test_who_may_not_read_the_present_may_not_read_the_past(self, cluster: Any) -> None:
        nobody = cluster.connect("nobody")
        with pytest.raises(Forbidden):
            await nobody.get(corev1.Secret, "a", "default", at="5m")
        with pytest.raises(Forbidden):
            await nobody.list(corev1.Secret, at="5m")
        with pytest.raises(Forbidden):
            await nobody.history(corev1.Secret, "a", "default")


class TestHistory:
    async def test_writes_deletion_and_a_new_object_of_that_name(self, cluster: Any, etcd: Etcd) -> None:
        before = time.time()
        await cluster.client.create(config_map("web-1", key="another"))
        first = await cluster.client.create(config_map("web", key="1"))
        first.data["key"] = "2"
        second = await cluster.client.update(first)
        await cluster.client.delete(corev1.ConfigMap, "web", "default")
        third = await cluster.client.create(config_map("web", key="3"))
        await noted_since(etcd, third)
        found = await cluster.client.history(corev1.ConfigMap, "web", "default")
        assert [one.object and one.object.data["key"] for one in found] == ["1", "2", None, "3"]
        assert [str(found[i].revision) for i in (1, 3)] == [version(second), version(third)]
        assert all(before - 2 < one.unix_s < time.time() + 2 for one in found)

    async def test_of_a_deleted_object(self, cluster: Any) -> None:
        made = await cluster.client.create(config_map("gone", key="1"))
        await cluster.client.delete(corev1.ConfigMap, "gone", "default")
        found = await cluster.client.history(corev1.ConfigMap, "gone", "default")
        assert [bool(one.object) for one in found] == [True, False]
        assert found[0].object.metadata.uid == made.metadata.uid

    async def test_of_what_never_was(self, cluster: Any) -> None:
        with pytest.raises(NotFound):
            await cluster.client.history(corev1.ConfigMap, "never", "default")

    async def test_begins_with_the_state_at_the_oldest_revision(self, cluster: Any) -> None:
        made = await cluster.client.create(config_map("old", key="1"))
        for value in "234":
            made.data["key"] = value
            made = await cluster.client.update(made)
            if value == "3":
                other = await cluster.client.create(config_map("other"))
                await cluster.compact(version(other))
        found = await cluster.client.history(corev1.ConfigMap, "old", "default")
        assert [one.object.data["key"] for one in found] == ["3", "4"]
        assert found[0].unix_s == 0

    async def test_more_than_one_message_holds(self, cluster: Any) -> None:
        made = await cluster.client.create(config_map("large", key="x" * 900_000))
        for number in range(6):
            made.data["number"] = str(number)
            made = await cluster.client.update(made)
        found = await cluster.client.history(corev1.ConfigMap, "large", "default")
        assert [one.object.data["number"] for one in found] == ["", *"012345"]


class TestNotes:
    async def test_a_quiet_store_stays_as_it_is(self, cluster: Any, etcd: Etcd) -> None:
        made = await cluster.client.create(config_map("a"))
        noted = await noted_since(etcd, made)
        await asyncio.sleep(1.5)
        assert await moments.last_noted(etcd) == noted

    async def test_several_servers_note_once_a_second(self, cluster: Any, etcd: Etcd) -> None:
        await cluster.another_server()
        await cluster.another_server()
        start, began = await etcd.revision(), time.monotonic()
        while time.monotonic() - began < 3:
            last = await cluster.client.create(config_map(f"a{time.monotonic_ns()}"))
        await noted_since(etcd, last)
        noted = await moments.all_noted(etcd, CLOCK, start + 1)
        assert all(after.unix_s - before.unix_s > 0.9 for before, after in pairwise(noted))
        assert len(noted) >= 3


class TestWindow:
    async def test_what_was_overwritten_is_kept_that_long(self, cluster: Any, etcd: Etcd) -> None:
        compactors = [Compactor(etcd, CLOCK, history_s=2.0) for _ in range(2)]
        made = await cluster.client.create(config_map("a", key="1"))
        noted = await noted_since(etcd, made)
        made.data["key"] = "2"
        await cluster.client.update(made)
        overwritten = time.time()

        async def oldest() -> int:
            for compactor in compactors:
                await compactor.turn()
            return await moments.oldest_revision(etcd, CLOCK)

        await eventually(oldest, lambda revision: revision >= noted.revision)
        assert time.time() - overwritten > 0.9
        # Still the state of two seconds ago.
        await cluster.client.get(corev1.ConfigMap, "a", "default", at="2s")
