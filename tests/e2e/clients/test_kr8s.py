"""kr8s, asynchronous: objects, conditions, custom kinds, logs, commands and ports."""

from typing import TYPE_CHECKING, Any

import aiohttp
import kr8s
import pytest
from kr8s.asyncio.objects import APIObject, ConfigMap, CustomResourceDefinition, Pod, new_class

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Lab

PATIENCE_S = 60
# It warns of every server that is newer than itself.
pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")


@pytest.fixture
async def api(lab: "Lab") -> Any:
    return await kr8s.asyncio.api(kubeconfig=lab.kubeconfig, namespace=lab.namespace)


async def test_objects(lab: "Lab", api: Any) -> None:
    made = await ConfigMap(lab.config_map(), api=api)
    await made.create()
    with pytest.raises(kr8s.ServerError, match="already exists"):
        await (await ConfigMap(lab.config_map(), api=api)).create()
    seen = []
    async for kind, found in api.watch("configmaps", namespace=lab.namespace, label_selector="app=client"):
        seen.append((kind, dict(found.data)))
        if len(seen) == 1:
            await made.patch({"data": {"size": None, "color": "blue"}})
        elif len(seen) == 2:
            await made.patch([{"op": "add", "path": "/data/shape", "value": "round"}], type="json")
        elif len(seen) == 3:
            await made.label({"tier": "front"})
        elif len(seen) == 4:
            await made.delete()
        else:
            break
    last = {"color": "blue", "shape": "round"}
    kinds = ("ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED")
    assert seen == list(zip(kinds, ({"color": "red", "size": "1"}, {"color": "blue"}, last, last, last), strict=True))
    assert not await made.exists()
    with pytest.raises(kr8s.NotFoundError):
        await made.refresh()


async def test_streams(lab: "Lab", api: Any) -> None:
    pod = await Pod(lab.pod(), api=api)
    await pod.create()
    await pod.wait("condition=Ready", timeout=PATIENCE_S)
    assert [line async for line in pod.logs()] == ["serving"]
    async for line in pod.logs(follow=True):
        assert line == "serving"
        break
    done = await pod.exec(["sh", "-c", "echo good; echo bad >&2; exit 3"], check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"good\n", b"bad\n", 3)
    async with pod.portforward(8080, local_port="auto") as port, aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(f"http://127.0.0.1:{port}/index.html") as answer:
                assert await answer.text() == "hello\n"
    await pod.delete()
    await pod.wait("delete", timeout=PATIENCE_S)


async def test_custom(lab: "Lab", api: Any) -> None:
    definition = await CustomResourceDefinition(lab.definition(), api=api)
    await definition.create()
    # Its conditions are null at first, which the library's own wait does not expect.
    async for _, found in definition.watch():
        if any(one.type == "Established" and one.status == "True" for one in found.status.conditions or ()):
            break
    gadget_class: type[APIObject] = new_class("Gadget", f"{lab.group}/v1", namespaced=True, asyncio=True)
    gadget = await gadget_class(lab.gadget(), api=api)
    await gadget.create()
    assert dict(gadget.spec) == {"size": 1, "color": "red"}
    with pytest.raises(kr8s.ServerError, match="should be greater than or equal to 1"):
        await (await gadget_class(lab.gadget("bad", size=0), api=api)).create()
    await gadget.patch({"status": {"phase": "Done"}}, subresource="status")
    await gadget.patch({"spec": {"size": 5}})
    (found,) = [one async for one in api.get(f"gadgets.{lab.group}", namespace=lab.namespace)]
    assert (found.spec.size, found.status.phase, found.metadata.generation) == (5, "Done", 2)
    await found.delete()
    assert not await found.exists()
