"""A kopf operator as a process of its own: its kind, finalizers, status, events, peering, and a restart."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes_asyncio import client, config, watch

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Lab

KOPF = Path(sys.executable).with_name("kopf")
OPERATOR = Path(__file__).with_name("operator_app.py")
PATIENCE_S = 60
MERGE = {"_content_type": "application/merge-patch+json"}


def peering() -> dict[str, Any]:
    """The kind in which kopf operators tell each other that they are there."""
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"status": status}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "KopfPeering", "plural": "kopfpeerings", "singular": "kopfpeering"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kopfpeerings.kopf.dev"},
        "spec": {"scope": "Namespaced", "group": "kopf.dev", "names": names, "versions": [version]},
    }


class Gadgets:
    """The objects of one kind in the namespace of the test."""

    def __init__(self, api: client.ApiClient, lab: "Lab", group: str, plural: str) -> None:
        self.custom = client.CustomObjectsApi(api)
        self.where = (group, "v1", lab.namespace, plural)

    async def until(self, holds: Callable[[str, dict[str, Any]], object]) -> dict[str, Any]:
        """Watch until an object is as wanted."""
        last: Any = None
        stream = watch.Watch().stream(
            self.custom.list_namespaced_custom_object, *self.where, timeout_seconds=PATIENCE_S
        )
        async with stream as events:
            async for event in events:
                last = event["object"]
                if holds(event["type"], last):
                    return dict(last)
        raise AssertionError(f"not within {PATIENCE_S} s; last: {last}")

    async def until_seen(self, *seen: str) -> dict[str, Any]:
        return await self.until(lambda _, found: found.get("status", {}).get("seen") == list(seen))


@pytest.fixture
async def api(lab: "Lab") -> AsyncIterator[client.ApiClient]:
    async with await config.new_client_from_config(lab.kubeconfig) as made:
        definitions = client.ApiextensionsV1Api(made)
        for definition in (lab.definition(), peering()):
            await definitions.create_custom_resource_definition(definition)
        async with watch.Watch().stream(definitions.list_custom_resource_definition) as events:
            missing = {lab.definition()["metadata"]["name"], "kopfpeerings.kopf.dev"}
            async for event in events:
                found = event["object"]
                if any(one.type == "Established" for one in (found.status and found.status.conditions) or ()):
                    missing.discard(found.metadata.name)
                if not missing:
                    break
        try:
            yield made
        finally:
            await definitions.delete_custom_resource_definition("kopfpeerings.kopf.dev")


@asynccontextmanager
async def operator(lab: "Lab", log: Path) -> AsyncIterator[None]:
    """`kopf run`, ended with SIGTERM as by a kubelet."""
    environment = {
        **os.environ,
        "KUBECONFIG": lab.kubeconfig,
        "GADGET_GROUP": lab.group,
        "GADGET_PEERING": "operators",
    }
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            KOPF, "run", f"--namespace={lab.namespace}", OPERATOR, env=environment, stdout=out, stderr=out
        )
        try:
            yield
        finally:
            process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                code = await process.wait()
            print(log.read_text())
        assert code == 0


async def test_operator(lab: "Lab", api: client.ApiClient, tmp_path: Path) -> None:
    log = tmp_path / "operator.log"
    gadgets = Gadgets(api, lab, lab.group, "gadgets")
    peers = Gadgets(api, lab, "kopf.dev", "kopfpeerings")
    body = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "operators"}}
    await peers.custom.create_namespaced_custom_object(*peers.where, body)
    async with operator(lab, log):
        await peers.until(lambda _, found: found.get("status"))
        await gadgets.custom.create_namespaced_custom_object(*gadgets.where, lab.gadget())
        found = await gadgets.until_seen("created 1")
        assert found["metadata"]["finalizers"] == [f"{lab.group}/finalizer"]
        await gadgets.custom.patch_namespaced_custom_object(*gadgets.where, "one", {"spec": {"size": 2}}, **MERGE)
        await gadgets.until_seen("created 1", "1 to 2")
        core = client.CoreV1Api(api)
        async with (
            watch.Watch().stream(core.list_namespaced_event, lab.namespace) as events,
            asyncio.timeout(PATIENCE_S),
        ):
            async for event in events:
                if event["object"].reason == "Built":
                    assert event["object"].message == "a gadget of size 1"
                    assert event["object"].involved_object.name == "one"
                    break
    # It has signed off.
    await peers.until(lambda _, found: not any((found.get("status") or {}).values()))
    await gadgets.custom.patch_namespaced_custom_object(*gadgets.where, "one", {"spec": {"size": 3}}, **MERGE)
    await gadgets.custom.delete_namespaced_custom_object(*gadgets.where, "one")
    held = await gadgets.custom.get_namespaced_custom_object(*gadgets.where, "one")
    assert held["metadata"]["deletionTimestamp"]
    await gadgets.custom.create_namespaced_custom_object(*gadgets.where, lab.gadget("two", size=9))
    async with operator(lab, log):
        await gadgets.until(lambda _, found: found["metadata"]["name"] == "two" and found.get("status", {}).get("seen"))
        async with asyncio.timeout(PATIENCE_S):
            while [one["metadata"]["name"] for one in await listed(gadgets)] != ["two"]:
                await asyncio.sleep(0.05)
        assert f"deleted {lab.namespace}/one" in log.read_text()
        await gadgets.custom.delete_namespaced_custom_object(*gadgets.where, "two")
        async with asyncio.timeout(PATIENCE_S):
            while await listed(gadgets):
                await asyncio.sleep(0.05)


async def listed(gadgets: Gadgets) -> list[dict[str, Any]]:
    found = await gadgets.custom.list_namespaced_custom_object(*gadgets.where)
    return list(found["items"])
