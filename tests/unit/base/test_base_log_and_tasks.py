import asyncio
import logging
from typing import Any

import pytest

from navarch.services.base.log import LineFormatter, get_logger, render
from navarch.services.base.tasks import FATAL, TaskOwner


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("two\nlines", '"two\\nlines"'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        (None, "None"),
        (0.123456789, "0.123457"),
        (12, "12"),
    ],
)
def test_values_stand_in_one_line(value: object, text: str) -> None:
    assert render(value) == text


def test_an_event_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        get_logger("kubelet").bind(node="n1").warning("pod.failed", pod="default/web", error="no such image")
        try:
            raise ValueError("oops")
        except ValueError:
            get_logger("kubelet").exception("bug")
    first, second = (LineFormatter().format(record) for record in caplog.records)
    assert first.endswith('WARN  kubelet pod.failed node=n1 pod=default/web error="no such image"')
    assert "ERROR kubelet bug traceback=" in second
    assert "ValueError: oops" in second
    assert "\n" not in second


async def test_an_owner_ends_its_tasks() -> None:
    owner = TaskOwner()
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    owner.spawn(work("a"), "a")
    owner.spawn(work("b"), "b")
    await asyncio.sleep(0)
    await owner.close()
    assert sorted(ended) == ["a", "b"]
    assert len(owner) == 0
    with pytest.raises(RuntimeError, match="after its owner was closed"):
        owner.spawn(work("c"), "c")


async def test_a_failed_task_is_told_to_the_loop_as_fatal() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    owner = TaskOwner()

    async def work() -> None:
        raise ValueError("oops")

    await asyncio.wait((owner.spawn(work(), "worker"),))
    await asyncio.sleep(0)
    assert told[0][FATAL]
    assert "worker" in told[0]["message"]
    await owner.close()
