"""The ConfigMaps and Secrets that Pods name."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.objects import NodeObjects

from .conftest import a_pod


class Api:
    """Lists one ConfigMap and all Services; counts the watches."""

    def __init__(self, *, immutable: bool) -> None:
        self.text = "old"
        self.immutable = immutable
        self.watched = 0
        self.listed = 0

    async def list(self, cls: Any, namespace: str = "", **_: Any) -> Any:
        if cls is not corev1.ConfigMap:
            return SimpleNamespace(items=[], continue_token="", resource_version="1")
        self.listed += 1
        found = corev1.ConfigMap(data={"a": self.text}, immutable=self.immutable)
        found.metadata.namespace, found.metadata.name, found.metadata.resource_version = namespace, "conf", "1"
        return SimpleNamespace(items=[found], continue_token="", resource_version="1")

    async def watch(self, cls: Any, *_: Any, **__: Any) -> AsyncIterator[Any]:
        self.watched += cls is corev1.ConfigMap
        try:
            await asyncio.Event().wait()
        finally:
            self.watched -= cls is corev1.ConfigMap
        yield


@pytest.mark.parametrize("immutable", [True, False])
async def test_what_is_immutable_is_read_once_as_long_as_a_pod_uses_it(immutable: bool) -> None:
    api = Api(immutable=immutable)
    changed: list[set[str]] = []
    objects = NodeObjects(api, SystemClock(), changed.append)  # type: ignore[arg-type]
    volumes = [{"name": "v", "configMap": {"name": "conf"}}]
    first, second = a_pod("first", volumes=volumes), a_pod("second", volumes=volumes)
    objects.start()

    async def until(watches: int) -> None:
        async with asyncio.timeout(30):
            while api.watched != watches:
                await asyncio.sleep(0)

    def text() -> str:
        found = objects.config_map("default", "conf")
        return found.data["a"] if found is not None else ""

    await objects.acquire(first)
    await until(0 if immutable else 1)
    assert (text(), changed) == ("old", [{"uid-first"}])
    api.text = "new"
    await objects.acquire(second)
    await objects.release("uid-first")
    assert (text(), api.listed) == ("old", 1)
    await objects.release("uid-second")
    assert text() == ""
    await objects.acquire(second)
    assert (text(), api.listed) == ("new", 2)
    await objects.stop()
