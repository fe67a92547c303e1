"""Containers that take all they can get: they are held by the bounds of their own Pod, and a neighbour lives on."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.kubelet.cgroups import ROOT, ControlGroups
from navarch.testing.host_state import HostState
from navarch.testing.kubelet_lab import PATIENCE_S, Lab

MAX_PIDS = 48
MOST_LOGS = 3
# More than the rotated files hold together.
LINES = 15_000
BOMB = "(while :; do sleep 1000 & done) 2>/dev/null & exec sleep 3600"
ORPHANS = 15
MAKER = f"""\
i=0; while [ $i -lt {ORPHANS} ]; do i=$((i+1)); (until test -e /go; do sleep 0.2; done &); done
exec sleep 3600"""
FLOOD = """\
n=0; pad=$(printf %0200d 0)
while :; do n=$((n+1)); echo "<$n $pad>"; [ $((n % 500)) != 0 ] || sleep 0.01; done"""


@contextlib.asynccontextmanager
async def options(lab: Lab, *flags: str) -> AsyncIterator[None]:
    """The kubelet with these options; without them afterwards."""
    lab.kill_kubelet()
    await lab.start_kubelet(*flags)
    try:
        yield
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()


async def used(lab: Lab) -> HostState:
    """The host without Pods, after the first: what is made once is there."""
    await lab.create("first")
    await lab.running("first")
    await lab.delete("first")
    await lab.gone("first")
    return await lab.settled()


def processes(uid: str) -> int:
    """How many a BestEffort Pod has."""
    groups = ROOT if ControlGroups().unified else ROOT / "pids"
    (group,) = groups.glob(f"*/*/kubepods/besteffort/pod{uid}")
    return int((group / "pids.current").read_text())


async def test_a_fork_bomb_is_held_by_its_pods_limit_on_processes(lab: Lab) -> None:
    before = await used(lab)
    await lab.create("neighbour")
    first = await lab.running("neighbour")
    async with options(lab, f"--pod-max-pids={MAX_PIDS}"):
        made = await lab.create("bomb", containers=[{"name": "main", "command": ["sh", "-c", BOMB]}])
        await lab.running("bomb")

        async def full() -> bool:
            return processes(made.metadata.uid) == MAX_PIDS

        await lab.eventually(full, f"{MAX_PIDS} processes")
        assert await lab.exec("neighbour", "echo", "alive") == "alive\n"
        await lab.delete("bomb")
        await lab.gone("bomb")
    neighbour = await lab.running("neighbour")
    assert neighbour.status.container_statuses[0] == first.status.container_statuses[0]
    await lab.delete("neighbour")
    await lab.gone("neighbour")
    await lab.unchanged(before)


async def test_zombies_that_nobody_reaps_go_with_their_pod(lab: Lab) -> None:
    before = await used(lab)
    await lab.create("neighbour")
    await lab.running("neighbour")
    await lab.create("maker", containers=[{"name": "main", "command": ["sh", "-c", MAKER]}])
    await lab.running("maker")

    async def reaps_nothing() -> bool:
        return (await lab.exec("maker", "cat", "/proc/1/comm")).strip() == "sleep"

    async def zombies() -> bool:
        listed = await lab.exec("maker", "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true")
        return listed.count(") Z ") >= ORPHANS

    await lab.eventually(reaps_nothing, "the first process is one that reaps nothing")
    await lab.exec("maker", "touch", "/go")
    await lab.eventually(zombies, f"{ORPHANS} zombies")
    assert await lab.exec("neighbour", "echo", "alive") == "alive\n"
    for name in ("maker", "neighbour"):
        await lab.delete(name)
        await lab.gone(name)
    await lab.unchanged(before)


async def test_a_flood_of_lines_is_bounded_by_rotation_while_it_is_read(lab: Lab) -> None:
    flags = (
        "--container-log-max-size=512Ki",
        f"--container-log-max-files={MOST_LOGS}",
        "--container-log-monitor-interval=200ms",
    )
    async with options(lab, *flags):
        made = await lab.create("flood", containers=[{"name": "main", "command": ["sh", "-c", FLOOD]}])
        await lab.running("flood")
        log_options = corev1.PodLogOptions(follow=True)
        request = node_pb2.LogsRequest(namespace=lab.namespace, pod="flood", options=log_options)
        seen, rest = 0, b""
        async with lab.kubelet() as stub:
            call = stub.Logs(request, timeout=PATIENCE_S)
            async for response in call:
                *lines, rest = (rest + response.data).split(b"\n")
                for line in lines:
                    if not (line.startswith(b"<") and line.endswith(b">")):
                        assert lab.where(
                            shim=False, plugin=True, because="it tears the line at which it opens a new log"
                        )
                        continue
                    number = int(line[1:].partition(b" ")[0])
                    # A reader slower than the rotation misses lines; none comes twice or out of order.
                    assert number > seen
                    seen = number
                if seen > LINES:
                    break
            call.cancel()
        folder = lab.host.root_dir(lab.runtime) / "logs"
        (logs,) = folder.glob(f"*{made.metadata.uid}/main")

        async def bounded() -> bool:
            return 1 < len(kept(logs)) <= MOST_LOGS

        await lab.eventually(bounded, f"at most {MOST_LOGS} files")
        await lab.delete("flood")
        await lab.gone("flood")


def kept(logs: Path) -> list[str]:
    """The log and what was set aside; what is being compressed is still there as it was."""
    return [path.name for path in logs.iterdir() if not path.name.endswith(".tmp")]
