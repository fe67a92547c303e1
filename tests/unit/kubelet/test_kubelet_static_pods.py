"""Static Pods: what is made of manifests, and when which of them run."""

import json
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.kubelet.core.static_pods import Unfit, is_mirror, is_static, mirror_of, shows, static_pod
from navarch.services.kubelet.sources.files import StaticPods

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
    static = StaticPods(tmp_path, "n1", table, None, lambda: told.append(True))  # type: ignore[arg-type]

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
