"""The shim is killed while a container writes: every line is in its log, once.

Only what a container writes while there is no shim, and ends before there is one again, is lost: containerd-shim, the
last to have the pipes open, closes them.
"""

import secrets
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

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
