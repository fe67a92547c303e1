"""Logs while they are rotated, and while nobody stands still."""

from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Peer

LINES = 2_000


async def reopen(cri: Peer, container_id: str) -> None:
    await cri.runtime.ReopenContainerLog(criv1.ReopenContainerLogRequest(container_id=container_id))


def joined(*logs: Path) -> list[str]:
    """The container's lines: records marked P go on in the next."""
    lines, begun = [], ""
    for line in "".join(log.read_text() for log in logs).splitlines():
        _, _, tag, text = line.split(" ", 3)
        begun += text
        if tag == "F":
            lines.append(begun)
            begun = ""
    return lines


async def written(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0


async def test_rotation_loses_nothing_and_doubles_nothing(cri: Peer) -> None:
    script = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; echo end; sleep 1000"
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    log = Path((await cri.status(container)).log_path)
    parts: list[Path] = []
    await until(lambda: written(log))
    while not parts or not parts[-1].read_text().endswith(" end\n"):
        parts.append(log.rename(log.with_name(f"part-{len(parts):05}.log")))
        # What comes before it is in the old file, so that one is whole afterwards.
        await reopen(cri, container)
        if not parts[-1].read_text().endswith(" end\n"):
            await until(lambda: written(log))
    assert joined(*parts, log) == [*(f"line {number}" for number in range(LINES)), "end"]


async def test_a_line_in_pieces_is_whole_in_the_log(cri: Peer) -> None:
    script = "for w in a b c; do printf $w; sleep 0.05; done; echo; printf '%20000s\\n' x; printf tail"
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    await cri.exited(container)
    log = Path((await cri.status(container)).log_path)
    assert joined(log) == ["abc", "x".rjust(20000)]
    assert (await cri.log(container))[-1] == ("stdout", "P", "tail")


async def test_the_log_stays_when_its_container_goes(cri: Peer) -> None:
    """It is the kubelet's."""
    container = await cri.container(await cri.sandbox(), cri.container_config("echo", "kept"))
    await cri.exited(container)
    log = Path((await cri.status(container)).log_path)
    await cri.remove_container(container)
    assert joined(log) == ["kept"]


async def test_without_its_folder_a_log_is_made(cri: Peer) -> None:
    config = cri.container_config("echo", "here")
    config.log_path = "deep/er/0.log"
    container = await cri.create(await cri.sandbox(), config)
    log = Path((await cri.status(container)).log_path)
    made = log.parent
    if cri.where(shim=False, plugin=True, because="the plugin leaves folders below the Pod's to the kubelet"):
        made.mkdir(parents=True, exist_ok=True)
    await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))
    await cri.exited(container)
    assert joined(log) == ["here"]
