"""Logs, at the REST door."""

import asyncio
import base64
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "one\ntwo\nthree\n"),
        ("container=main", "one\ntwo\nthree\n"),
        ("tailLines=1", "three\n"),
        ("tailLines=0", ""),
        ("limitBytes=5", "one\nt"),
        ("sinceTime=2000-01-01T00:00:00Z", "one\ntwo\nthree\n"),
        ("sinceTime=2100-01-01T00:00:00Z", ""),
        ("sinceSeconds=3600", "one\ntwo\nthree\n"),
        ("stream=Stderr", ""),
        ("stream=Stdout&limitBytes=3", "one"),
        ("insecureSkipTLSVerifyBackend=true&tailLines=1", "three\n"),
    ],
)
async def test_parts_of_a_log(lab: Any, query: str, text: str) -> None:
    async with lab.session.get(lab.url(f"pods/web/log?{query}")) as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert await answer.text() == text


async def test_timestamps(lab: Any) -> None:
    _, text = await lab.get("pods/web/log?timestamps=true&tailLines=1")
    stamp, _, line = text.partition(" ")
    assert line == "three\n"
    assert stamp.startswith("20")
    assert stamp.endswith("Z")


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("pods/two/log", (400, "BadRequest", "a container name must be specified for pod two, choose one of: [a b]")),
        ("pods/web/log?container=x", (400, "BadRequest", "container x is not valid for pod web")),
        ("pods/none/log", (404, "NotFound", 'pods "none" not found')),
        (
            "pods/web/log?previous=true",
            (400, "BadRequest", 'previous terminated container "main" in pod "web" not found'),
        ),
        ("pods/web/log?tailLines=-1", (422, "Invalid", "must be greater than or equal to 0")),
        ("pods/web/log?limitBytes=0", (422, "Invalid", "limitBytes: Invalid value: 0: must be greater than 0")),
        ("pods/web/log?sinceSeconds=0", (422, "Invalid", "sinceSeconds: Invalid value: 0: must be greater than 0")),
        (
            "pods/web/log?sinceSeconds=1&sinceTime=2000-01-01T00:00:00Z",
            (422, "Invalid", "at most one of `sinceTime` or `sinceSeconds` may be specified"),
        ),
        ("pods/web/log?stream=x", (422, "Invalid", 'supported values: "All", "Stderr", "Stdout"')),
        ("pods/web/log?stream=Stdout&tailLines=1", (422, "Invalid", "mutually exclusive")),
        ("pods/web/log?tailLines=x", (400, "BadRequest", "tailLines")),
        ("pods/web/log?sinceTime=x", (400, "BadRequest", "sinceTime")),
    ],
)  # fmt: skip
async def test_refusals(lab: Any, path: str, refusal: tuple[int, str, str]) -> None:
    status, reason, message = await lab.refusal(path)
    assert (status, reason) == refusal[:2]
    assert refusal[2] in message


async def test_following_begins_at_once_and_leaves_nothing(lab: Any) -> None:
    async def follow() -> None:
        async with lab.session.get(lab.url("pods/web/log?follow=true&tailLines=0")) as answer:
            # Not one line has come yet.
            assert answer.status == 200

    await follow()
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(follow() for _ in range(10)))
    async with asyncio.timeout(60):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("protocol", ["", "binary.k8s.io", "base64.binary.k8s.io"])
async def test_over_websocket(lab: Any, protocol: str) -> None:
    protocols = [protocol] if protocol else []
    found = b""
    async with lab.session.ws_connect(lab.url("pods/web/log"), protocols=protocols) as socket:
        async for message in socket:
            found += base64.b64decode(message.data) if protocol.startswith("base64") else message.data
    assert found == b"one\ntwo\nthree\n"


async def test_kubectl(lab: Any) -> None:
    assert await lab.kubectl("logs", "web", "--tail=2") == (0, b"two\nthree\n", b"")
    code, out, _ = await lab.kubectl("logs", "two", "--all-containers", "--prefix")
    assert code == 0
    assert out.count(b"simulated, no process runs") == 2
