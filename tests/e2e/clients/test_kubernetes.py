"""The official Python client: typed and dynamic, watches, informers and streams."""

import queue
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.dynamic.exceptions import NotFoundError
from kubernetes.informer import SharedInformer
from kubernetes.stream import portforward, stream

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Lab

PATIENCE_S = 60


@pytest.fixture
def api(lab: "Lab") -> Iterator[client.ApiClient]:
    with config.new_client_from_config(lab.kubeconfig) as made:
        yield made


def started(core: client.CoreV1Api, lab: "Lab") -> None:
    core.create_namespaced_pod(lab.namespace, lab.pod())
    for event in watch.Watch().stream(core.list_namespaced_pod, lab.namespace, timeout_seconds=PATIENCE_S):
        conditions = event["object"].status.conditions or []
        if any(one.type == "Ready" and one.status == "True" for one in conditions):
            return
    raise AssertionError("the Pod is not Ready")


def test_objects(lab: "Lab", api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(lab.namespace, lab.config_map())
    with pytest.raises(client.ApiException, match="AlreadyExists"):
        core.create_namespaced_config_map(lab.namespace, lab.config_map())
    patched = core.patch_namespaced_config_map("settings", lab.namespace, {"data": {"size": None, "color": "blue"}})
    assert patched.data == {"color": "blue"}
    jsonpatch = [{"op": "add", "path": "/data/shape", "value": "round"}]
    core.patch_namespaced_config_map("settings", lab.namespace, jsonpatch)
    made.data = {"late": "write"}
    with pytest.raises(client.ApiException) as refused:
        core.replace_namespaced_config_map("settings", lab.namespace, made)
    assert refused.value.status == 409
    core.delete_namespaced_config_map("settings", lab.namespace)
    since = made.metadata.resource_version
    events = watch.Watch().stream(
        core.list_namespaced_config_map, lab.namespace, resource_version=since, timeout_seconds=PATIENCE_S
    )
    seen = [(event["type"], event["object"].data) for _, event in zip(range(3), events, strict=False)]
    last = {"color": "blue", "shape": "round"}
    assert seen == [("MODIFIED", {"color": "blue"}), ("MODIFIED", last), ("DELETED", last)]
    with pytest.raises(client.ApiException, match="NotFound"):
        core.read_namespaced_config_map("settings", lab.namespace)


def test_streams(lab: "Lab", api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    started(core, lab)
    assert core.read_namespaced_pod_log("web", lab.namespace) == "serving\n"
    lines = watch.Watch().stream(core.read_namespaced_pod_log, name="web", namespace=lab.namespace)
    assert next(iter(lines)) == "serving"
    words: dict[str, Any] = {"stdout": True, "stderr": True, "stdin": True, "_preload_content": False}
    command = ["sh", "-c", "read x; echo got $x; echo bad >&2; exit 3"]
    running = stream(core.connect_get_namespaced_pod_exec, "web", lab.namespace, command=command, **words)
    running.write_stdin("word\n")
    running.run_forever(timeout=PATIENCE_S)
    assert (running.read_stdout(), running.read_stderr(), running.returncode) == ("got word\n", "bad\n", 3)
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", lab.namespace, ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    answer = b"".join(iter(lambda: socket.recv(4096), b""))
    socket.close()
    assert answer.endswith(b"hello\n")
    assert forward.error(8080) is None
    forward.close()


def test_dynamic_and_custom(lab: "Lab", api: client.ApiClient) -> None:
    found = dynamic.DynamicClient(api)
    definitions = found.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    definitions.create(body=lab.definition())
    for event in definitions.watch(field_selector=f"metadata.name=gadgets.{lab.group}", timeout=PATIENCE_S):
        conditions = (event["raw_object"].get("status") or {}).get("conditions") or []
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            break
    found.resources.invalidate_cache()
    gadgets = found.resources.get(api_version=f"{lab.group}/v1", kind="Gadget")
    made = gadgets.create(body=lab.gadget(), namespace=lab.namespace)
    assert (made.spec.size, made.spec.color) == (1, "red")
    with pytest.raises(dynamic.exceptions.UnprocessibleEntityError, match="should be greater than or equal to 1"):
        gadgets.create(body=lab.gadget("bad", size=0), namespace=lab.namespace)
    gadgets.status.patch(
        body={"status": {"phase": "Done"}, "spec": {"size": 7}},
        name="one",
        namespace=lab.namespace,
        content_type="application/merge-patch+json",
    )
    assert gadgets.server_side_apply(
        body=lab.gadget(size=5), name="one", namespace=lab.namespace, field_manager="me", force_conflicts=True
    ).to_dict()["status"] == {"phase": "Done"}
    (one,) = gadgets.get(namespace=lab.namespace).items
    assert (one.spec.size, one.metadata.generation) == (5, 2)
    gadgets.delete(name="one", namespace=lab.namespace)
    with pytest.raises(NotFoundError):
        gadgets.get(name="one", namespace=lab.namespace)


def test_informer(lab: "Lab", api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(lab.namespace, lab.config_map("before"))
    seen: queue.Queue[tuple[str, str]] = queue.Queue()
    informer = SharedInformer(core.list_namespaced_config_map, namespace=lab.namespace, label_selector="app=client")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        informer.add_event_handler(kind, lambda found, kind=kind: seen.put((kind, found.metadata.name)))
    informer.start()
    try:
        assert seen.get(timeout=PATIENCE_S) == ("ADDED", "before")
        core.create_namespaced_config_map(lab.namespace, lab.config_map("after"))
        assert seen.get(timeout=PATIENCE_S) == ("ADDED", "after")
        assert sorted(informer.cache.list_keys()) == [f"{lab.namespace}/after", f"{lab.namespace}/before"]
        # Without the label it is gone for who selects by it.
        core.patch_namespaced_config_map("after", lab.namespace, {"metadata": {"labels": {"app": None}}})
        assert seen.get(timeout=PATIENCE_S) == ("DELETED", "after")
    finally:
        informer.stop()
