"""The paths of the kubelet beside streams and metrics."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from navarch.services.base.tls_context import client_context


@pytest.fixture
async def session(lab: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTPS endpoints, as an administrator."""
    context = client_context(lab.credentials("kube-apiserver", "system:masters"))
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(f"https://127.0.0.1:{lab.kubelet.port}", connector=connector) as opened:
        yield opened


async def test_what_a_kubelet_says_about_itself(session: aiohttp.ClientSession) -> None:
    for path, part in (
        ("/healthz", "ok"),
        ("/healthz/ping", "ok"),
        ("/healthz/log", "ok"),
        ("/healthz/syncloop", "ok"),
        ("/healthz?verbose", "[+]syncloop ok"),
        ("/statusz", "Paths: "),
        ("/flagz", "\nnode-name=n1\n"),
        ("/configz", '"kind":"KubeletConfiguration"'),
        ("/logs/", "<pre>"),
    ):
        async with session.get(path) as response:
            assert (path, response.status) == (path, 200)
            assert part in await response.text()


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/healthz/etcd", 404, "404 page not found"),
        ("GET", "/debug/flags/v", 404, "404 page not found"),
        ("GET", "/logs/none", 404, "404 page not found"),
        ("GET", "/" + "x" * 3000, 404, "404 page not found"),
        ("GET", "/pods?" + "x" * 20_000, 400, ""),
        ("POST", "/pods", 405, ""),
        ("GET", "/checkpoint/default/web/main", 405, ""),
        ("POST", "/checkpoint/default/none/main", 404, "pod does not exist"),
        ("POST", "/checkpoint/default/web/none", 404, "container none not found in pod web"),
        ("POST", "/checkpoint/default/web/main?timeout=soon", 400, "cannot parse value of timeout parameter"),
        ("POST", "/checkpoint/default/web/main", 500, "checkpointing of default/web/main failed ("),
        ("GET", "/containerLogs/default/web", 404, "404 page not found"),
    ],
)
async def test_refusals(
    lab: Any, session: aiohttp.ClientSession, method: str, path: str, status: int, text: str
) -> None:
    await lab.create("web")
    await lab.running("web")
    async with session.request(method, path) as response:
        assert response.status == status
        assert text in await response.text()


async def test_only_what_runs_is_among_the_running_pods(lab: Any, session: aiohttp.ClientSession) -> None:
    await lab.create("web")
    await lab.running("web")
    await lab.create("stuck", {"pull-error": "no"}, containers=[{"name": "main", "image": "broken:1"}])
    await lab.when("stuck", lambda pod: pod.status.container_statuses)
    async with session.get("/runningpods/") as response:
        listed = await response.json()
    assert [pod["metadata"]["name"] for pod in listed["items"]] == ["web"]
    async with session.get("/pods") as response:
        listed = await response.json()
    assert sorted(pod["metadata"]["name"] for pod in listed["items"]) == ["stuck", "web"]
