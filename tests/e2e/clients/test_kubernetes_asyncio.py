"""kubernetes-asyncio: the official client's calls on asyncio, its dynamic client, watches and WebSockets."""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import pytest
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.stream import WsApiClient

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Lab

PATIENCE_S = 60


@pytest.fixture
async def api(lab: "Lab") -> AsyncIterator[client.ApiClient]:
    async with await config.new_client_from_config(lab.kubeconfig) as made:
        yield made


async def test_objects(lab: "Lab", api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    made = await core.create_namespaced_config_map(lab.namespace, lab.config_map())
    with pytest.raises(client.ApiException, match="AlreadyExists"):
        await core.create_namespaced_config_map(lab.namespace, lab.config_map())
    seen = []
    since = made.metadata.resource_version
    words = {"resource_version": since, "timeout_seconds": PATIENCE_S}
    await core.patch_namespaced_config_map("settings", lab.namespace, {"data": {"size": None, "color": "blue"}})
    async with watch.Watch().stream(core.list_namespaced_config_map, lab.namespace, **words) as events:
        async for event in events:
            seen.append((event["type"], event["object"].data))
            if len(seen) == 1:
                patch = [{"op": "add", "path": "/data/shape", "value": "round"}]
                await core.patch_namespaced_config_map(
                    "settings", lab.namespace, patch, _content_type="application/json-patch+json"
                )
            elif len(seen) == 2:
                await core.delete_namespaced_config_map("settings", lab.namespace)
            else:
                break
    last = {"color": "blue", "shape": "round"}
    assert seen == [("MODIFIED", {"color": "blue"}), ("MODIFIED", last), ("DELETED", last)]
    with pytest.raises(client.ApiException, match="NotFound"):
        await core.read_namespaced_config_map("settings", lab.namespace)


async def test_streams(lab: "Lab", api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    await core.create_namespaced_pod(lab.namespace, lab.pod())
    async with watch.Watch().stream(core.list_namespaced_pod, lab.namespace, timeout_seconds=PATIENCE_S) as events:
        async for event in events:
            conditions = event["object"].status.conditions or []
            if any(one.type == "Ready" and one.status == "True" for one in conditions):
                break
    assert await core.read_namespaced_pod_log("web", lab.namespace) == "serving\n"
    async with watch.Watch().stream(core.read_namespaced_pod_log, "web", lab.namespace, follow=True) as lines:
        async for line in lines:
            assert line == "serving\n"
            break
    async with WsApiClient(configuration=api.configuration) as sockets:
        streams = client.CoreV1Api(sockets)
        command = ["sh", "-c", "read x; echo got $x; echo bad >&2; exit 3"]
        words = {"command": command, "stdin": True, "stdout": True, "stderr": True, "_preload_content": False}
        found: dict[int, bytes] = {}
        async with await streams.connect_get_namespaced_pod_exec("web", lab.namespace, **words) as running:
            await running.send_bytes(b"\x00word\n")
            async for message in running:
                assert message.type == aiohttp.WSMsgType.BINARY
                found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
        assert (found[1], found[2]) == (b"got word\n", b"bad\n")
        assert WsApiClient.parse_error_data(found[3].decode()) == 3
        call = streams.connect_get_namespaced_pod_portforward("web", lab.namespace, ports=8080, _preload_content=False)
        found = {}
        async with await call as forward:
            await forward.send_bytes(b"\x00GET /index.html HTTP/1.0\r\n\r\n")
            async for message in forward:
                found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
                if found[message.data[0]].endswith(b"hello\n"):
                    break
    # Each channel begins with the port that it is for.
    assert int.from_bytes(found[0][:2], "little") == int.from_bytes(found[1][:2], "little") == 8080


async def test_dynamic_and_custom(lab: "Lab", api: client.ApiClient) -> None:
    definitions = client.ApiextensionsV1Api(api)
    await definitions.create_custom_resource_definition(lab.definition())
    selected = {"field_selector": f"metadata.name=gadgets.{lab.group}", "timeout_seconds": PATIENCE_S}
    async with watch.Watch().stream(definitions.list_custom_resource_definition, **selected) as events:
        async for event in events:
            conditions = (event["object"].status and event["object"].status.conditions) or []
            if any(one.type == "Established" and one.status == "True" for one in conditions):
                break
    found = await DynamicClient(api)
    gadgets = await found.resources.get(api_version=f"{lab.group}/v1", kind="Gadget")
    made = await gadgets.create(body=lab.gadget(), namespace=lab.namespace)
    assert (made.spec.size, made.spec.color) == (1, "red")
    custom = client.CustomObjectsApi(api)
    where = (lab.group, "v1", lab.namespace, "gadgets", "one")
    # The dynamic client of this library does not raise for refusals.
    with pytest.raises(client.ApiException) as refused:
        await custom.create_namespaced_custom_object(*where[:4], lab.gadget("bad", size=0))
    assert refused.value.status == 422
    (cause,) = json.loads(refused.value.body)["details"]["causes"]
    assert cause["field"] == "spec.size"
    merge = {"_content_type": "application/merge-patch+json"}
    await custom.patch_namespaced_custom_object_status(*where, {"status": {"phase": "Done"}}, **merge)
    changed = await custom.patch_namespaced_custom_object(*where, {"spec": {"size": 5}}, **merge)
    assert (changed["spec"]["size"], changed["status"], changed["metadata"]["generation"]) == (5, {"phase": "Done"}, 2)
    await gadgets.delete(name="one", namespace=lab.namespace)
    assert (await custom.list_namespaced_custom_object(*where[:4]))["items"] == []
