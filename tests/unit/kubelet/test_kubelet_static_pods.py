"""Static Pods: what is made of manifests, and when which of them run."""

import argparse
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.kubelet.core.static_pods import Unfit, is_mirror, is_static, mirror_of, shows, static_pod
from navarch.services.kubelet.sources.files import Files
from navarch.services.kubelet.sources.http import Url
from navarch.services.kubelet.sources.options import headers
from navarch.services.kubelet.sources.static_pods import StaticPods

CONTAINER = {"name": "main", "image": "app:1"}


def document(name: str = "web", **spec: Any) -> dict[str, Any]:
    whole = {"containers": [CONTAINER], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"a": "b"}}, "spec": whole}


def written(**spec: Any) -> corev1.Pod:
    pod = codec.from_json(document(**spec))
    assert isinstance(pod, corev1.Pod)
    return pod


def test_a_static_pod_is_known_by_its_node_and_its_content() -> None:
    pod = static_pod(written(), "n1", "/etc/web.yaml")
    again = static_pod(written(), "n1", "/etc/web.yaml")
    others = [
        static_pod(written(hostNetwork=True), "n1", "/etc/web.yaml"),
        static_pod(written(), "n2", "/etc/web.yaml"),
        static_pod(written(), "n1", "/etc/other.yaml"),
    ]
    assert pod == again
    assert len({one.metadata.uid for one in [pod, *others]}) == 4
    assert (pod.metadata.name, pod.metadata.namespace, pod.spec.node_name) == ("web-n1", "default", "n1")
    assert pod.spec.restart_policy == "Always"
    assert [(one.operator, one.effect) for one in pod.spec.tolerations] == [("Exists", "NoExecute")]
    assert is_static(pod)
    assert not is_mirror(pod)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"serviceAccountName": "robot"}, "service accounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "secrets"),
        ({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}, "config maps"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "persistent volume claims"),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}, "secrets"),
        ({"containers": [{**CONTAINER, "envFrom": [{"configMapRef": {"name": "c"}}]}]}, "config maps"),
        (
            {
                "containers": [
                    {**CONTAINER, "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
                ]
            },
            "secrets",
        ),
        ({"containers": []}, "spec.containers"),
    ],
)
def test_what_needs_the_api_or_is_no_pod_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Unfit, match=words):
        static_pod(written(**spec), "n1", "x")


def test_its_mirror() -> None:
    pod = static_pod(written(), "n1", "x")
    mirror = mirror_of(pod, "node-uid")
    assert is_mirror(mirror)
    assert not is_static(mirror)
    assert shows(mirror, pod)
    assert not shows(mirror, static_pod(written(hostNetwork=True), "n1", "x"))
    assert [(one.kind, one.name, one.uid) for one in mirror.metadata.owner_references] == [("Node", "n1", "node-uid")]
    assert mirror.metadata.labels == {"a": "b"}


class Table:
    """Pods that end when they are told that they have."""

    def __init__(self) -> None:
        self.live: dict[str, corev1.Pod] = {}
        self.ending: set[str] = set()

    def get(self, uid: str) -> object | None:
        return self.live.get(uid)

    def changed(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if old is not None:
            self.ending.add(old.metadata.uid)
        if new is not None:
            self.live[new.metadata.uid] = new

    def names(self) -> list[str]:
        return sorted(pod.metadata.name for uid, pod in self.live.items() if uid not in self.ending)

    def end(self) -> None:
        for uid in self.ending:
            del self.live[uid]
        self.ending.clear()


async def test_manifests_come_change_and_go(tmp_path: Path) -> None:
    table, told = Table(), []
    static = StaticPods([Files(tmp_path, "n1")], table, None, lambda: told.append(True))  # type: ignore[arg-type]

    def put(name: str, content: Any) -> None:
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))

    put("a.json", document("a"))
    put("b.yaml", "{broken")
    put(".hidden.yaml", document("hidden"))
    put("notes.txt", "not for us")
    put("service.yaml", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}})
    (tmp_path / "folder.yaml").mkdir()
    await static.look()
    assert (table.names(), len(told)) == (["a-n1"], 1)
    first = next(iter(table.live))

    put("a.json", document("a", hostNetwork=True))
    put("c.yaml", {"apiVersion": "v1", "kind": "List", "items": [document("c"), document("d")]})
    await static.look()
    assert table.names() == ["c-n1", "d-n1"]
    await static.look()
    assert table.names() == ["c-n1", "d-n1"], "the successor waits for the end"
    table.end()
    await static.look()
    assert table.names() == ["a-n1", "c-n1", "d-n1"]
    assert first not in table.live

    (tmp_path / "c.yaml").unlink()
    await static.look()
    table.end()
    await static.look()
    assert table.names() == ["a-n1"]
    assert [pod.metadata.name for pod in static.wanted()] == ["a-n1"]


class Site:
    """A small HTTP server on loopback."""

    def __init__(self) -> None:
        self.status, self.body = 200, ""
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append({key: value for key, value in request.headers.items() if key.startswith("X-")})
        return web.Response(status=self.status, text=self.body)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made, app = Site(), web.Application()
    app.router.add_get("/pods", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/pods"
    yield made
    await runner.cleanup()


POD_LIST = {"apiVersion": "v1", "kind": "PodList", "items": [document("a"), document("b")]}
YAML = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: main, image: 'app:1'}]}\n"


@pytest.mark.parametrize(
    ("status", "body", "pods", "fault"),
    [
        (200, json.dumps(document("a")), ["default/a-n1"], ""),
        (200, YAML, ["default/a-n1"], ""),
        (200, json.dumps(POD_LIST), ["default/a-n1", "default/b-n1"], ""),
        (200, json.dumps({**POD_LIST, "items": []}), [], ""),
        (200, "", [], "zero-length data received"),
        (503, json.dumps(POD_LIST), None, "503 Service Unavailable"),
        (200, "{broken", None, "did not find expected"),
        (
            200,
            json.dumps({**POD_LIST, "items": [document("a"), document("b", containers=[])]}),
            None,
            "spec.containers",
        ),
        (200, json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}), None, "only Pods"),
    ],
)
async def test_what_a_url_says(site: Site, status: int, body: str, pods: list[str] | None, fault: str) -> None:
    site.status, site.body = status, body
    found = await Url(site.url, "n1").read()
    assert (None if found.pods is None else sorted(found.pods)) == pods
    assert bool(found.faults) == bool(fault)
    assert fault in "".join(found.faults.values())
    assert all(pod.metadata.annotations["kubernetes.io/config.source"] == "http" for pod in (found.pods or {}).values())


async def test_the_pods_of_a_url_stay_while_it_has_no_good_answer(site: Site, tmp_path: Path) -> None:
    table, told = Table(), []
    (tmp_path / "c.json").write_text(json.dumps(document("c")))
    sent = [("X-One", "1"), ("X-Two", "2")]
    sources = [Files(tmp_path, "n1"), Url(site.url, "n1", sent)]
    static = StaticPods(sources, table, None, lambda: told.append(True))  # type: ignore[arg-type]
    site.status = 500
    await static.look()
    assert table.names() == ["c-n1"]
    assert not static.heard.is_set(), "nobody knows yet which Pods it wants"
    site.status, site.body = 200, json.dumps(POD_LIST)
    await static.look()
    assert static.heard.is_set()
    assert table.names() == ["a-n1", "b-n1", "c-n1"]
    for site.status, site.body in ((500, ""), (200, "{broken"), (200, json.dumps(POD_LIST))):
        await static.look()
        assert table.names() == ["a-n1", "b-n1", "c-n1"]
    site.body = json.dumps(document("b"))
    await static.look()
    assert table.names() == ["b-n1", "c-n1"]
    assert site.asked[0] == dict(sent)
    assert len(told) == 3


async def test_of_two_sources_with_a_pod_of_one_name_the_first_is_heard(site: Site, tmp_path: Path) -> None:
    table = Table()
    (tmp_path / "a.json").write_text(json.dumps(document("a")))
    site.body = json.dumps(document("a"))
    static = StaticPods([Files(tmp_path, "n1"), Url(site.url, "n1")], table, None, lambda: None)  # type: ignore[arg-type]
    await static.look()
    assert [pod.metadata.annotations["kubernetes.io/config.source"] for pod in static.wanted()] == ["file"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("a:1", [("a", "1")]),
        ("a:1,b: x:y ,a:2", [("a", "1"), ("b", "x:y"), ("a", "2")]),
    ],
)
def test_headers_on_the_command_line(text: str, found: list[tuple[str, str]]) -> None:
    assert headers(text) == found


@pytest.mark.parametrize("text", ["a", ":1", "a:1,b"])
def test_malformed_headers_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="malformed header"):
        headers(text)
