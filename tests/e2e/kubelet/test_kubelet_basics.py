"""A Pod from its creation to its end."""

from typing import Any


async def test_a_pod_runs_speaks_and_goes(lab: Any) -> None:
    await lab.create("hello", containers=[{"name": "main", "command": ["sh", "-c", "echo hello; sleep 3600"]}])
    await lab.running("hello")
    await lab.said("hello", "hello")
    assert await lab.exec("hello", "cat", "/etc/hostname") == "hello\n"
    await lab.delete("hello")
    await lab.gone("hello")
