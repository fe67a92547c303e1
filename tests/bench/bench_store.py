"""Our store beside Debian's etcd, in one run, on one disk, fsync on for both: speed, failover, memory.

    python tests/bench/bench_store.py [--quick] [--members 1,3] [--markdown]

Each load is put on both, one after the other, in several rounds; the median round counts. The generator is
Node.js (`store_load/`); it shares the processors with the servers, so beside each rate stands what CPU time an
operation took at the server and at the generator. "null" is a server of ours whose methods do nothing.
"""

import argparse
import asyncio
import os
import platform
import signal
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from navarch.testing.store_bench.load import Load, Result, measure
from navarch.testing.store_bench.scenarios import Footprint, failover_s, fdatasync_ms, footprint
from navarch.testing.store_bench.servers import Cluster

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "store.md"
LOADS = (
    Load("put, 1 client"),
    Load("put, 16 clients", clients=16),
    Load("put, 100 clients", clients=100, processes=2),
    Load("txn, 1 client", "txn"),
    Load("txn, 16 clients", "txn", 16),
    Load("txn, 100 clients", "txn", 100, processes=2),
    Load("range of 1 key, 1 client", "get"),
    Load("range of 1 key, 16 clients", "get", 16),
    Load("range of 1 key, 100 clients", "get", 100, processes=2),
    Load("range of 1,000 keys, 1 client", "page"),
    Load("watch events, 1 watcher", watchers=1),
    Load("watch events, 100 watchers", clients=4, watchers=100),
)
RULE = "\n---\n"
FILL = Load("fill", clients=32, count=10_000)
HEADER = (
    "",
    "etcd /s",
    "ours /s",
    "ratio",
    "etcd p50, p99 ms",
    "ours p50, p99 ms",
    "ratio p50",
    "CPU ms/op: etcd",
    "ours",
    "generator",
)
Row = tuple[str, ...]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round of each, a tenth of the keys")
    parser.add_argument("--rounds", type=int, default=3, help="how often each load is put on both")
    parser.add_argument("--members", default="1,3", help="sizes of the clusters")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure")
    parser.add_argument("--markdown", action="store_true", help=f"write {DOCUMENT}")
    options = parser.parse_args()
    rounds, seconds = (1, 2.0) if options.quick else (options.rounds, 3.0)
    lines = [f"Machine: {machine()}. {time.strftime('%Y-%m-%d', time.gmtime())}.", ""]
    with tempfile.TemporaryDirectory(prefix="bench-store-", dir=options.directory) as folder:
        directory = Path(folder)
        lines += ["fdatasync of 1 KiB: p50 {:.2f} ms, p99 {:.2f} ms.".format(*fdatasync_ms(directory)), ""]
        for members in map(int, options.members.split(",")):
            lines += [f"### {members} member{'s' * (members > 1)}", ""]
            rows = await compare(members, directory, rounds, seconds)
            lines += [*table(HEADER, rows), ""]
            if members == 1:
                lines += [*await memory(directory, 10_000 if options.quick else 100_000), ""]
            else:
                lines += [await failover(members, directory, 3 if options.quick else 7), ""]
    if options.markdown:
        write(lines)


async def compare(members: int, directory: Path, rounds: int, seconds: float) -> list[Row]:
    """All loads on both kinds."""
    rows = []
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(Cluster("etcd", members, directory))
        ours = await stack.enter_async_context(Cluster("navarch", members, directory))
        null = await stack.enter_async_context(Cluster("null", 1, directory))
        for cluster in (etcd, ours):
            await measure(cluster, FILL)
        print_row(HEADER)
        for load in LOADS:
            load = replace(load, seconds=seconds)
            kinds = [etcd, ours] + [null] * (load.operation == "put" and not load.watchers and members == 1)
            found = [[await measure(cluster, load) for cluster in kinds] for _ in range(rounds)]
            medians = [_median(results) for results in zip(*found, strict=True)]
            rows.append(print_row(row(load.name, medians[0], medians[1])))
            if len(medians) > 2:
                rows.append(print_row(row("— null server", None, medians[2])))
    return rows


def _median(results: tuple[Result, ...]) -> Result:
    return sorted(results, key=lambda result: result.rate)[len(results) // 2]


def row(name: str, etcd: Result | None, ours: Result) -> Row:
    """A line of the table."""
    latency = "{0.p50_ms:.2f}, {0.p99_ms:.1f}".format
    cpu = f"{ours.server_cpu_ms:.3f}"
    if etcd is None:
        return name, "", f"{ours.rate:,.0f}", "", "", latency(ours), "", "", cpu, f"{ours.generator_cpu_ms:.3f}"
    return (
        name,
        f"{etcd.rate:,.0f}",
        f"{ours.rate:,.0f}",
        f"{ours.rate / etcd.rate:.2f}",
        latency(etcd),
        latency(ours),
        f"{ours.p50_ms / etcd.p50_ms:.2f}",
        f"{etcd.server_cpu_ms:.3f}",
        cpu,
        f"{(etcd.generator_cpu_ms + ours.generator_cpu_ms) / 2:.3f}",
    )


async def memory(directory: Path, keys: int) -> list[str]:
    """Memory and restart with many keys."""
    found: dict[str, Footprint] = {}
    for kind in ("etcd", "navarch"):
        async with Cluster(kind, 1, directory) as cluster:
            found[kind] = await footprint(cluster, keys)
    etcd, ours = found["etcd"], found["navarch"]
    lines = (
        ("PSS, MB", etcd.pss_mb, ours.pss_mb),
        ("of it anonymous, MB", etcd.anonymous_mb, ours.anonymous_mb),
        ("restart to first linearizable read, s", etcd.restart_s, ours.restart_s),
        ("PSS after the restart, MB", etcd.restarted_pss_mb, ours.restarted_pss_mb),
        ("of it anonymous, MB", etcd.restarted_anonymous_mb, ours.restarted_anonymous_mb),
    )
    rows = [print_row((name, f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}")) for name, a, b in lines]
    return table((f"{keys:,} keys of 2 KiB", "etcd", "ours", "ratio"), rows)


async def failover(members: int, directory: Path, times: int) -> str:
    """How long writes are refused after the leader's death."""
    found = {}
    for kind in ("etcd", "navarch"):
        async with Cluster(kind, members, directory) as cluster:
            found[kind] = await failover_s(cluster, times)
    line = (
        f"Failover, kill -9 of the leader to the next acknowledged write, median of {times}: "
        f"etcd {found['etcd']:.2f} s, ours {found['navarch']:.2f} s."
    )
    print(line, flush=True)
    return line


def table(header: Row, rows: list[Row]) -> list[str]:
    """As Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]


def print_row(cells: Row) -> Row:
    """Show a line as soon as it is known."""
    print(cells[0].ljust(38), "  ".join(cell.rjust(14) for cell in cells[1:]), flush=True)
    return cells


def machine() -> str:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} × {cpu}, {memory_gb:.0f} GB, {versions}"


def write(lines: list[str]) -> None:
    """The document: the numbers go below its first rule, what is above stays."""
    DOCUMENT.parent.mkdir(exist_ok=True)
    kept = (
        DOCUMENT.read_text().partition("\n---\n")[0] if DOCUMENT.exists() else f"# The store beside etcd\n\n{__doc__}"
    )
    DOCUMENT.write_text(f"{kept.rstrip()}\n{RULE}\n" + "\n".join(lines).rstrip() + "\n")


async def until_told() -> None:
    """Run; when the process is told to end, end all that was started first."""
    running = asyncio.ensure_future(main())
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, running.cancel)
    await running


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(until_told())
