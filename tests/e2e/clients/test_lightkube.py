"""lightkube: typed and generic resources, apply, conditions, logs and commands. It has no port-forward."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Lab

PATIENCE_S = 60


@pytest.fixture
def client(lab: "Lab") -> Iterator[Client]:
    with Client(config=KubeConfig.from_file(lab.kubeconfig), namespace=lab.namespace, field_manager="me") as made:
        yield made


def test_objects(lab: "Lab", client: Client) -> None:
    made = client.create(ConfigMap.from_dict(lab.config_map()))
    assert made.metadata is not None
    with pytest.raises(ApiError) as refused:
        client.create(ConfigMap.from_dict(lab.config_map()))
    assert (refused.value.status.code, refused.value.status.reason) == (409, "AlreadyExists")
    client.patch(ConfigMap, "settings", {"data": {"size": None, "color": "blue"}}, patch_type=PatchType.MERGE)
    operations = [{"op": "add", "path": "/data/shape", "value": "round"}]
    client.patch(ConfigMap, "settings", operations, patch_type=PatchType.JSON)
    with pytest.raises(ApiError, match="conflict"):
        client.apply(ConfigMap(metadata=ObjectMeta(name="settings"), data={"color": "green"}), field_manager="other")
    applied = ConfigMap(metadata=ObjectMeta(name="settings"), data={"color": "green"})
    assert client.apply(applied, field_manager="other", force=True).data == {"color": "green", "shape": "round"}
    client.delete(ConfigMap, "settings")
    events = client.watch(ConfigMap, resource_version=made.metadata.resourceVersion, server_timeout=PATIENCE_S)
    seen = [kind for _, (kind, _) in zip(range(4), events, strict=False)]
    assert seen == ["MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]
    with pytest.raises(ApiError, match='configmaps "settings" not found'):
        client.get(ConfigMap, "settings")


def test_streams(lab: "Lab", client: Client) -> None:
    client.create(Pod.from_dict(lab.pod()))
    client.wait(Pod, "web", for_conditions=["Ready"])
    assert list(client.log("web")) == ["serving\n"]
    assert next(iter(client.log("web", follow=True))) == "serving\n"
    script = ["sh", "-c", "read x; echo got $x; echo bad >&2; exit 3"]
    before = set(threading.enumerate())
    done = client.exec("web", command=script, stdin="word\n", stdout=True, stderr=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr, done.exit_code) == ("got word\n", "bad\n", 3)
    # The library's reader outlives the call; a new connection must not get its descriptor.
    for reader in set(threading.enumerate()) - before:
        reader.join(PATIENCE_S)
    client.delete(Pod, "web", grace_period=0)


def test_custom(lab: "Lab", client: Client) -> None:
    client.create(CustomResourceDefinition.from_dict(lab.definition()))
    client.wait(CustomResourceDefinition, f"gadgets.{lab.group}", for_conditions=["Established"])
    gadget = create_namespaced_resource(lab.group, "v1", "Gadget", "gadgets")
    made = client.create(gadget(lab.gadget()))
    assert made.spec == {"size": 1, "color": "red"}
    with pytest.raises(ApiError, match="should be greater than or equal to 1"):
        client.create(gadget(lab.gadget("bad", size=0)))
    client.patch(gadget.Status, "one", {"status": {"phase": "Done"}}, patch_type=PatchType.MERGE)
    client.apply(gadget(lab.gadget(size=5)), force=True)
    (found,) = client.list(gadget)
    assert (found.spec["size"], found.status["phase"], found.metadata.generation) == (5, "Done", 2)
    client.delete(gadget, "one")
    assert list(client.list(gadget)) == []
