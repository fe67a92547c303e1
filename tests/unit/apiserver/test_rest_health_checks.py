"""What a failing check does to the answer."""

from types import SimpleNamespace
from typing import Any

import pytest
from multidict import MultiDict

from navarch.services.api.errors import ServiceUnavailable
from navarch.services.apiserver.doors.rest.health import Health


class Revisions:
    def __init__(self) -> None:
        self.answers = True

    async def read(self) -> int:
        if not self.answers:
            raise ServiceUnavailable("no quorum at 192.0.2.1")
        return 1


def a_cacher(is_ready: bool) -> Any:
    return SimpleNamespace(is_ready=is_ready, kind=SimpleNamespace(qualified_resource="pods"))


@pytest.fixture
def core() -> Any:
    return SimpleNamespace(revisions=Revisions(), cachers=[a_cacher(True)])


def a_call(path: str, **query: str) -> Any:
    return SimpleNamespace(request=SimpleNamespace(path=path, query=MultiDict(query), method="GET"), query=query)


async def ask(health: Health, path: str, **query: str) -> tuple[int, str]:
    answer: Any = await health.endpoint(a_call(path, **query))
    return answer.status, answer.text


async def test_a_store_that_does_not_answer_is_named_without_the_reason(core: Any) -> None:
    core.revisions.answers = False
    status, text = await ask(Health(core), "/livez")
    assert status == 500
    assert text == "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\nlivez check failed\n"


async def test_a_failing_check_can_be_left_out(core: Any) -> None:
    core.revisions.answers = False
    assert await ask(Health(core), "/livez", exclude="etcd") == (200, "ok")


async def test_a_server_that_stops_is_alive_but_not_ready(core: Any) -> None:
    health = Health(core, is_stopping=True)
    assert (await ask(health, "/livez"))[0] == 200
    status, text = await ask(health, "/readyz")
    assert status == 500
    assert "[-]shutdown failed: reason withheld\n" in text


async def test_a_server_whose_caches_are_filling_is_not_ready(core: Any) -> None:
    core.cachers.append(a_cacher(False))
    assert (await ask(Health(core), "/readyz/informer-sync"))[0] == 500


async def test_checks_of_others_count(core: Any) -> None:
    async def passes() -> None: ...

    health = Health(core, more={"poststarthook/rbac": passes})
    assert await ask(health, "/readyz/poststarthook/rbac") == (200, "ok")
