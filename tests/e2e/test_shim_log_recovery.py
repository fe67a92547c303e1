"""The shim is killed while a container writes, or is away when it ends: every line is in its log, once."""

import asyncio
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.leftovers import keeper_processes, shim_processes

from .conftest import Containerd, Shim, serving, shim_process, until

LINES = 10_000
NUMBERS = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done"


def joined(log: Path) -> list[str]:
    """The container's lines: records marked P go on in the next. A kill may leave the last record torn for now."""
    lines, begun = [], ""
    for record in log.read_text().rpartition("\n")[0].splitlines():
        _, _, tag, text = record.split(" ", 3)
        begun += text
        if tag == "F":
            lines.append(begun)
            begun = ""
    return [*lines, begun] if begun else lines


async def log_path(shim: Shim, container: str) -> Path:
    return Path((await shim.status(container)).log_path)


# The one writes line by line, the other in large pieces that end anywhere.
@pytest.mark.parametrize("script", [NUMBERS, f"seq 0 {LINES - 1} | sed 's/^/line /'"], ids=["lines", "blocks"])
async def test_killed_while_a_container_writes(containerd: Containerd, busybox_archive: Path, script: str) -> None:
    async with shim_process(containerd) as (shim, process):
        await shim.load_busybox(busybox_archive)
        sandbox = await shim.run_pod(shim.pod(f"writes-{secrets.token_hex(4)}", host_network=True))
        wait = "until [ -e /tmp/%s ]; do sleep 0.01; done"
        wrapped = f"{wait % 'go'}; {script}; echo end; {wait % 'out'}"
        container = await shim.start(sandbox, shim.container("sh", "-c", wrapped))
        log = await log_path(shim, container)
        await shim.exec(container, "touch", "/tmp/go")
        process.kill()
        process.wait()
    while joined(log)[-1:] != ["end"]:
        async with shim_process(containerd) as (shim, process):
            size = log.stat().st_size

            async def grown(size: int = size) -> bool:
                return log.stat().st_size != size or joined(log)[-1:] == ["end"]

            await until(grown)
            process.kill()
            process.wait()
    assert joined(log) == [*(f"line {number}" for number in range(LINES)), "end"]
    async with serving(containerd) as shim:
        await shim.exec(container, "touch", "/tmp/out")
        assert (await shim.exited(container)).exit_code == 0
        assert joined(log) == [*(f"line {number}" for number in range(LINES)), "end"]
        await shim.remove_all()


async def test_the_beginning_of_a_line_outlives_a_kill(containerd: Containerd, busybox_archive: Path) -> None:
    script = "printf begun; until [ -e /tmp/go ]; do sleep 0.01; done; echo ' and ended'; printf tail"
    async with shim_process(containerd) as (shim, process):
        await shim.load_busybox(busybox_archive)
        sandbox = await shim.run_pod(shim.pod("half", host_network=True))
        container = await shim.start(sandbox, shim.container("sh", "-c", script))
        assert (await shim.exec(container, "sh", "-c", "until ps | grep -q '[s]leep 0.01'; do :; done")).exit_code == 0
        process.kill()
        process.wait()
    async with serving(containerd) as shim:
        await shim.exec(container, "touch", "/tmp/go")
        await shim.exited(container)
        assert await shim.log(container) == [("stdout", "F", "begun and ended"), ("stdout", "P", "tail")]
        await shim.remove_all()


async def test_rotated_while_the_shim_was_away(containerd: Containerd, busybox_archive: Path) -> None:
    """What had been read before goes to the new log, not twice to both."""
    script = "echo one; printf begun; until [ -e /tmp/go ]; do sleep 0.01; done; echo ' and ended'"
    async with shim_process(containerd) as (shim, process):
        await shim.load_busybox(busybox_archive)
        sandbox = await shim.run_pod(shim.pod("rotated", host_network=True))
        container = await shim.start(sandbox, shim.container("sh", "-c", script))
        log = await log_path(shim, container)

        async def written() -> bool:
            return joined(log) == ["one"]

        await until(written)
        process.kill()
        process.wait()
    rotated = log.rename(log.with_name("rotated.log"))
    async with serving(containerd) as shim:
        await shim.runtime.ReopenContainerLog(criv1.ReopenContainerLogRequest(container_id=container))
        await shim.exec(container, "touch", "/tmp/go")
        await shim.exited(container)
        assert joined(rotated) == ["one"]
        assert joined(log) == ["begun and ended"]
        await shim.remove_all()


# Less than a pipe takes, so that no process stays because of it.
LAST_WORDS = [f"{number:059}" for number in range(1000)]
SAY_LAST_WORDS = """
i=0; while [ $i -lt 1000 ]; do printf '%059d\\n' $i; i=$((i+1)); done > /tmp/words
touch /tmp/ready; until [ -e /tmp/go ]; do sleep 0.01; done
cat /tmp/words; cat /tmp/words >&2; exit 7"""


def pipes_of(pids: Iterator[int]) -> set[str]:
    """Which named pipes below "containers" these processes have open."""
    found = set()
    for pid in pids:
        try:
            entries = list(Path(f"/proc/{pid}/fd").iterdir())
        except FileNotFoundError:
            continue  # Ended just now.
        for entry in entries:
            try:
                path = os.readlink(entry)
            except FileNotFoundError:
                continue  # Closed just now.
            if "/containers/" in path:
                found.add(path)
    return found


async def replace_keeper(containerd: Containerd) -> None:
    """Kill the log keeper and wait until another has all that it had."""
    (old,) = keeper_processes(containerd.layout.shim_state)
    had = pipes_of(iter([old]))
    assert had
    os.kill(old, signal.SIGKILL)

    async def replaced() -> bool:
        new = set(keeper_processes(containerd.layout.shim_state)) - {old}
        return len(new) == 1 and pipes_of(iter(new)) == had

    await until(replaced)


@pytest.mark.parametrize("case", ["killed", "stopped", "everything killed"])
async def test_last_words_while_the_shim_is_away(containerd: Containerd, busybox_archive: Path, case: str) -> None:
    async with shim_process(containerd) as (shim, process):
        await shim.load_busybox(busybox_archive)
        sandbox = await shim.run_pod(shim.pod(f"last-words-{secrets.token_hex(4)}", host_network=True))
        container = await shim.start(sandbox, shim.container("sh", "-c", SAY_LAST_WORDS))
        request = criv1.ContainerStatusRequest(container_id=container, verbose=True)
        pid = orjson.loads((await shim.runtime.ContainerStatus(request)).info["info"])["pid"]
        root = Path(f"/proc/{pid}/root/tmp")

        async def ready() -> bool:
            return (root / "ready").exists()

        await until(ready)
        if case == "everything killed":
            await replace_keeper(containerd)
        process.send_signal(signal.SIGTERM if case == "stopped" else signal.SIGKILL)
        await asyncio.to_thread(process.wait)
    if case == "everything killed":
        containerd.kill()
    (root / "go").touch()
    pipes = {str(containerd.layout.shim_state / "containers" / container / name) for name in ("stdout", "stderr")}

    async def let_go() -> bool:
        return not pipes & pipes_of(shim_processes(containerd.layout.socket))

    await until(let_go)
    assert pipes_of(keeper_processes(containerd.layout.shim_state)) == pipes
    if case == "everything killed":
        containerd.start()
    async with serving(containerd) as shim:
        assert (await shim.exited(container)).exit_code == 7
        log = await shim.log(container)
        for stream in ("stdout", "stderr"):
            assert [(tag, text) for name, tag, text in log if name == stream] == [("F", line) for line in LAST_WORDS]

        async def released() -> bool:
            return not pipes_of(keeper_processes(containerd.layout.shim_state))

        await until(released)
        await shim.remove_all()
