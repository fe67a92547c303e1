"""Speed and memory of the runtime shim beside containerd's own CRI plugin, on the same containerd.

    python tests/bench/bench_shim.py [--rounds 20] [--markdown]

Both are asked in turns, so that what else the machine does meets both. The ratio is of the medians.
"""

import argparse
import asyncio
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from shim_load import image, scenarios
from shim_load.scenarios import Footprint, Timings

from navarch.testing.cri_client import CriClient
from navarch.testing.private_containerd import IMAGE, PrivateContainerd, private_containerd

CROWD = 20
CONTAINERS = 100
PULLS = 5
REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "shim.md"
PEERS = ("plugin", "shim")
Results = dict[str, Timings]


async def measure(containerd: PrivateContainerd, registry: str, rounds: int) -> tuple[Results, dict[str, Footprint]]:
    """All timings by peer, and what each costs while 100 containers run."""
    timings = {peer: Timings() for peer in PEERS}
    pids = dict(zip(PEERS, (process.pid for process in containerd.processes), strict=True))
    footprints = {}
    with tempfile.TemporaryDirectory() as logs:
        sockets = {"plugin": containerd.plugin_socket, "shim": containerd.shim_socket}
        clients = {peer: CriClient(sockets[peer], IMAGE, containerd.cgroup_root, Path(logs)) for peer in PEERS}
        for peer, cri in clients.items():
            await scenarios.life(cri, Timings(), host_network=False, at_once=1)
            print(f"{peer} is warm", flush=True)
        for host_network, network in ((True, "host network"), (False, "Pod network")):
            for at_once, turns in ((1, rounds), (CROWD, max(2, rounds // 6))):
                for _ in range(turns):
                    for peer, cri in clients.items():
                        found = Timings()
                        await scenarios.life(cri, found, host_network=host_network, at_once=at_once)
                        for step, values in found.of.items():
                            timings[peer].of.setdefault(row(f"{step}, {network}", at_once), []).extend(values)
                show(timings)
        for peer, cri in clients.items():
            async with scenarios.running(cri, CONTAINERS):
                for at_once in (1, CROWD):
                    operation = row(f"ListContainers of {CONTAINERS}", at_once)
                    await scenarios.lists(cri, timings[peer], operation, rounds, at_once)
                footprints[peer] = await scenarios.footprint(pids[peer])
        for number in range(PULLS):
            for peer, cri in clients.items():
                name = f"{registry}/{image.NAME}-{number}:latest"
                await scenarios.pull(cri, timings[peer], row("PullImage, 100 MB in 5 layers", 1), name)
        for cri in clients.values():
            await cri.clean_up()
    return timings, footprints


def row(operation: str, at_once: int) -> str:
    """The beginning of a table's line."""
    return f"| {operation} | {at_once} |"


def show(timings: Results) -> None:
    """Print what is known so far."""
    print("\n".join(lines(timings)), flush=True)


def lines(timings: Results) -> Iterator[str]:
    """The table."""
    yield "| operation | at once | plugin p50 ms | shim p50 ms | ratio |"
    yield "|---|--:|--:|--:|--:|"
    for begin in timings["shim"].of:
        plugin, shim = (timings[peer].p50(begin) for peer in PEERS)
        yield f"{begin} {plugin:.1f} | {shim:.1f} | {shim / plugin:.2f} |"


def report(timings: Results, footprints: dict[str, Footprint]) -> str:
    """The report."""
    memory = "\n".join(
        f"| {name} | {footprints[peer].memory_mb:.0f} | {footprints[peer].cpu * 100:.1f} |"
        for peer, name in (("shim", "the shim"), ("plugin", "containerd, its plugin included"))
    )
    return f"""# The runtime shim, beside containerd's CRI plugin

Made by `make bench-shim` on {platform.machine()}, {processors()} processors, Python {platform.python_version()},
{containerd_version()}. Both serve the same containerd, and are asked in turns; the client is on the same processors.

{chr(10).join(lines(timings))}

With {CONTAINERS} containers running and nobody asking:

| process | memory, MB (PSS) | % of one processor |
|---|--:|--:|
{memory}
"""


def processors() -> int:
    """Processors that may be used."""
    return len(psutil.Process().cpu_affinity())


def containerd_version() -> str:
    """As it says itself."""
    words = subprocess.run(["containerd", "--version"], check=True, capture_output=True, text=True).stdout.split()
    return f"containerd {words[2]}"


@contextmanager
def registry() -> Iterator[str]:
    """host:port of a registry with the image."""
    script = Path(image.__file__)
    process = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.communicate()


def main() -> None:
    """Print the tables, and write them where the documentation has them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--markdown", action="store_true", help=f"write {REPORT.name}")
    chosen = options.parse_args()
    with private_containerd() as containerd, registry() as address:
        text = report(*asyncio.run(measure(containerd, address, chosen.rounds)))
    print(text)
    if chosen.markdown:
        REPORT.write_text(text)


if __name__ == "__main__":
    main()
