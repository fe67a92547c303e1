import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors
from navarch.services.client import informer as informer_module
from navarch.services.client.cache import CacheMutated
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer, Informers, by_namespace, by_owner_uid

Change = tuple[str | None, str | None]


def a_map(name: str, value: str = "", namespace: str = "default") -> corev1.ConfigMap:
    return corev1.ConfigMap(metadata=metav1.ObjectMeta(namespace=namespace, name=name), data={"x": value})


def value_of(obj: corev1.ConfigMap | None) -> str | None:
    return None if obj is None else obj.data["x"]


class Following:
    """An informer whose changes a test awaits one by one, as (old value, new value)."""

    def __init__(self, informer: Informer[corev1.ConfigMap]) -> None:
        self.informer = informer
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        informer.on_event(self._note)
        informer.start()

    def _note(self, old: corev1.ConfigMap | None, new: corev1.ConfigMap | None) -> None:
        self._changes.put_nowait((value_of(old), value_of(new)))

    async def next(self) -> Change:
        return await asyncio.wait_for(self._changes.get(), 20)

    @property
    def quiet(self) -> bool:
        return self._changes.empty()


@pytest.fixture
async def follow(client: Client) -> AsyncIterator[Callable[[], Following]]:
    informers: list[Informer[corev1.ConfigMap]] = []

    def start() -> Following:
        informers.append(Informer(client, corev1.ConfigMap, detect_mutation=True))
        return Following(informers[-1])

    yield start
    for informer in informers:
        await informer.stop()


async def test_it_lists_then_follows(fake: Any, follow: Callable[[], Following]) -> None:
    await fake.put(a_map("a", "1"))
    following = follow()
    await following.informer.synced()
    assert await following.next() == (None, "1")
    await fake.put(a_map("a", "2"))
    assert await following.next() == ("1", "2")
    cached = following.informer.get("default/a")
    assert cached is not None
    assert cached.data["x"] == "2"
    await fake.remove(a_map("a"))
    assert await following.next() == ("2", None)
    assert following.informer.list() == []


async def test_a_large_list_comes_whole(
    fake: Any, follow: Callable[[], Following], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "PAGE", 3)
    for number in range(10):
        await fake.put(a_map(f"m{number}"))
    following = follow()
    await following.informer.synced()
    assert len(following.informer) == 10
    assert fake.calls["List"] == 4


async def test_a_broken_stream_goes_on_where_it_was(fake: Any, follow: Callable[[], Following]) -> None:
    following = follow()
    await following.informer.synced()
    await fake.put(a_map("a", "1"))
    assert await following.next() == (None, "1")
    await fake.break_streams()
    await fake.put(a_map("b", "2"))
    assert await following.next() == (None, "2")
    assert fake.calls["List"] == 1
    assert fake.watched_from[-1] != fake.watched_from[0]


async def test_bookmarks_keep_the_version_young(fake: Any, follow: Callable[[], Following]) -> None:
    following = follow()
    await following.informer.synced()
    await fake.bookmark(corev1.ConfigMap)
    await fake.put(a_map("marks", "the end"))
    await following.next()
    await fake.break_streams()
    await fake.put(a_map("a", "1"))
    await following.next()
    assert int(fake.watched_from[-1]) >= 102


async def test_what_changed_while_the_history_was_lost_is_told(fake: Any, follow: Callable[[], Following]) -> None:
    for name in ("kept", "gone", "changed"):
        await fake.put(a_map(name, name))
    following = follow()
    for _ in range(3):
        await following.next()
    fake.silent = True
    await fake.remove(a_map("gone"))
    await fake.put(a_map("changed", "other"))
    await fake.put(a_map("new", "new"))
    await fake.compact()
    changes = {await following.next() for _ in range(3)}
    assert changes == {("gone", None), ("changed", "other"), (None, "new")}
    assert following.quiet


async def test_an_object_made_anew_is_a_deletion_and_an_addition(fake: Any, follow: Callable[[], Following]) -> None:
    await fake.put(a_map("a", "old"))
    following = follow()
    await following.next()
    fake.silent = True
    await fake.put(a_map("a", "new"), recreate=True)
    await fake.compact()
    assert await following.next() == ("old", None)
    assert await following.next() == (None, "new")


async def test_it_waits_for_a_server_that_refuses_at_first(fake: Any, follow: Callable[[], Following]) -> None:
    fake.fail("List", errors.Forbidden("configmaps", "", "not yet"), errors.InternalError("starting"))
    await fake.put(a_map("a", "1"))
    following = follow()
    assert await following.next() == (None, "1")
    assert "starting" in following.informer.last_error


async def test_it_survives_the_server(fake: Any, serve: Callable[..., Any]) -> None:
    server, port = await serve(fake)
    client = Client.connect(f"127.0.0.1:{port}", None)
    following = Following(Informer(client, corev1.ConfigMap))
    await following.informer.synced()
    await server.stop(0)
    await fake.put(a_map("a", "1"))
    await serve(fake, port)
    assert await following.next() == (None, "1")
    await following.informer.stop()
    await client.close()


async def test_a_late_handler_is_told_what_is_there(fake: Any, follow: Callable[[], Following]) -> None:
    await fake.put(a_map("a", "1"))
    following = follow()
    await following.next()
    told: list[str] = []
    following.informer.on_event(lambda old, new: told.append(new.data["x"] if new else ""))
    assert told == ["1"]


async def test_a_handlers_bug_does_not_cost_others_their_events(fake: Any, client: Client) -> None:
    informer = Informer(client, corev1.ConfigMap)

    def broken(old: object, new: object) -> None:
        raise ValueError("a bug")

    informer.on_event(broken)
    following = Following(informer)
    await fake.put(a_map("a", "1"))
    assert await following.next() == (None, "1")
    await informer.stop()


async def test_a_changed_loan_is_found_at_the_stop(fake: Any, client: Client) -> None:
    await fake.put(a_map("a"))
    informer = Informer(client, corev1.ConfigMap, detect_mutation=True)
    informer.start()
    await informer.synced()
    informer.list()[0].data["x"] = "changed"
    with pytest.raises(CacheMutated):
        await informer.stop()


async def test_the_factory_shares_one_informer_a_kind(fake: Any, client: Client) -> None:
    await fake.put(a_map("a", namespace="one"))
    owned = a_map("b", namespace="two")
    owned.metadata.owner_references.add(uid="owner")
    await fake.put(owned)
    informers = Informers(client)
    first = informers.of(corev1.ConfigMap, {"namespace": by_namespace})
    assert informers.of(corev1.ConfigMap, {"namespace": by_namespace, "owner": by_owner_uid}) is first
    informers.start()
    secrets = informers.of(corev1.Secret)
    await informers.synced()
    assert secrets.has_synced
    assert [obj.metadata.name for obj in first.by_index("namespace", "one")] == ["a"]
    assert [obj.metadata.name for obj in first.by_index("owner", "owner")] == ["b"]
    await informers.stop()
