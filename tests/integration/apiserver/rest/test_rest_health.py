"""/livez, /readyz and /metrics."""

from typing import Any

import pytest


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/livez/ping", "/readyz/etcd", "/readyz/shutdown"])
async def test_a_healthy_server_says_ok(rest: Any, path: str) -> None:
    answer = await rest.get(path)
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_verbose_names_the_checks(rest: Any) -> None:
    lines = (await rest.get("/readyz?verbose")).body.decode().splitlines()
    assert lines[:3] == ["[+]ping ok", "[+]log ok", "[+]etcd ok"]
    assert "[+]informer-sync ok" in lines
    assert lines[-2:] == ["[+]shutdown ok", "readyz check passed"]


async def test_checks_can_be_left_out(rest: Any) -> None:
    text = (await rest.get("/livez?verbose&exclude=etcd&exclude=nothing")).body.decode()
    assert "[+]etcd excluded: ok\n" in text
    assert 'warn: some health checks cannot be excluded: no matches for "nothing"\n' in text


async def test_metrics_count_in_the_names_of_kubernetes(rest: Any) -> None:
    answer = await rest.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"apiserver_request_total" in answer.body
