"""Pods by manifests on the node: they run without an API server, which shows mirrors of them."""

import json
import signal
from pathlib import Path
from typing import Any

from aiohttp import web

from navarch.services.kubelet.core.observed import RUNNING
from navarch.testing.kubelet_lab import Lab, is_ready
from navarch.testing.private_containerd import IMAGE


def manifest(namespace: str, script: str, name: str = "web") -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def write(folder: Path, namespace: str, script: str, name: str = "web") -> None:
    part = folder / f".{name}.part"
    part.write_text(json.dumps(manifest(namespace, script, name)))
    part.rename(folder / f"{name}.yaml")


async def test_static_pods_and_their_mirrors(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: [")
    write(tmp_path, lab.namespace, "echo first; sleep 3600")
    mirror = f"web-{lab.node}"
    lab.kill_kubelet()
    await lab.start_kubelet(f"--pod-manifest-path={tmp_path}")
    first = await lab.when(mirror, is_ready)
    await lab.said(mirror, "first")
    assert [one.kind for one in first.metadata.owner_references] == ["Node"]
    container = first.status.container_statuses[0].container_id

    await lab.delete(mirror)
    again = await lab.when(mirror, lambda pod: is_ready(pod) and pod.metadata.uid != first.metadata.uid)
    assert again.status.container_statuses[0].container_id == container

    write(tmp_path, lab.namespace, "echo second; sleep 3600")
    changed = await lab.when(
        mirror, lambda pod: is_ready(pod) and pod.status.container_statuses[0].container_id != container
    )
    await lab.said(mirror, "second")

    lab.kill_kubelet()
    lab.host.control_plane.send_signal(signal.SIGSTOP)
    try:
        write(tmp_path, lab.namespace, "sleep 3600", "alone")
        lab.host.start_kubelet(lab.runtime, f"--pod-manifest-path={tmp_path}")

        async def both_run() -> bool:
            listed = await lab.cri.list_containers()
            running = {one.labels["io.kubernetes.pod.name"] for one in listed if one.state == RUNNING}
            return {mirror, f"alone-{lab.node}"} <= running

        await lab.eventually(both_run)
    finally:
        lab.host.control_plane.send_signal(signal.SIGCONT)
    alone = await lab.when(f"alone-{lab.node}", is_ready)
    kept = await lab.pod(mirror)
    assert kept is not None
    assert kept.status.container_statuses[0].container_id == changed.status.container_statuses[0].container_id

    for path in tmp_path.iterdir():
        path.unlink()
    await lab.gone(mirror)
    await lab.gone(alone.metadata.name)

    async def nothing_runs() -> bool:
        names = {one.labels.get("io.kubernetes.pod.namespace") for one in await lab.cri.list_containers()}
        return lab.namespace not in names

    await lab.eventually(nothing_runs)
    lab.kill_kubelet()
    await lab.start_kubelet()


class Site:
    """A small HTTP server on loopback. pods: what it says, None to say nothing good."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] | None = None
        self.asked = 0
        app = web.Application()
        app.router.add_get("/pods", self._answer)
        self._runner = web.AppRunner(app)

    async def start(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/pods"

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.pods is None or request.headers.get("X-Token") != "secret":
            raise web.HTTPServiceUnavailable
        return web.json_response({"apiVersion": "v1", "kind": "PodList", "items": self.pods})

    async def stop(self) -> None:
        await self._runner.cleanup()


async def test_static_pods_from_a_url_that_is_not_always_there(lab: Lab) -> None:
    site = Site()
    url = await site.start()
    flags = (f"--manifest-url={url}", "--manifest-url-header=X-Token:secret", "--http-check-frequency=100ms")
    site.pods = [manifest(lab.namespace, "sleep 3600", name) for name in ("one", "two")]
    one, two = f"one-{lab.node}", f"two-{lab.node}"
    try:
        lab.kill_kubelet()
        await lab.start_kubelet(*flags)
        first = await lab.running(one)
        await lab.running(two)
        assert first.metadata.annotations["kubernetes.io/config.source"] == "http"

        lab.kill_kubelet()
        site.pods = None
        before = site.asked
        await lab.start_kubelet(*flags)

        async def asked_in_vain() -> bool:
            return site.asked > before + 3

        await lab.eventually(asked_in_vain)
        kept = await lab.running(one)
        assert kept.metadata.uid == first.metadata.uid

        site.pods = [manifest(lab.namespace, "sleep 3600", "one")]
        await lab.gone(two)
        kept = await lab.running(one)
        assert kept.status.container_statuses[0].container_id == first.status.container_statuses[0].container_id
        site.pods = []
        await lab.gone(one)
    finally:
        await site.stop()
        lab.kill_kubelet()
        await lab.start_kubelet()
