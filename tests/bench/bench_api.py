"""Speed and memory of the API server's two doors, as tables.

    python tests/bench/bench_api.py [--seconds 4] [--workers 1,2] [--markdown]

Each server is a process of its own, and so is the generator; all share the machine. The ratio is to the figures
of a genuine kube-apiserver on a machine with two processors, client and store on the same ones.
"""

import argparse
import platform
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from api_load import scenarios
from api_load.scenarios import PROTOBUF, FanOut, Figure, Grpc, Rest
from api_load.servers import Subject, start

CLIENTS = (1, 8, 32)
VERBS = ("get", "list", "create", "update", "patch")
# kube-apiserver 1.36 with etcd 3.6, JSON: calls a second with 32 clients (list: with one).
GENUINE_PER_S = {("get", 32): 5100.0, ("create", 32): 1700.0, ("list", 1): 1 / 0.043}
GENUINE_EVENTS_PER_S = 7300.0
WATCHERS = (1, 50, 500)
MEMORY_PODS = 30_000
REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "api.md"


async def doors(subject: Subject, seconds: float) -> list[Figure]:
    """All verbs, all doors, all numbers of clients."""
    connections = await scenarios.connect(subject, max(CLIENTS))
    channel = scenarios.channel(subject)
    rests = [Rest(connections, "application/json"), Rest(connections, PROTOBUF)]
    await scenarios.fill(rests[0], 8)
    figures = []
    for door in (*rests, Grpc(channel)):
        for verb in VERBS:
            for clients in CLIENTS:
                operation = getattr(door, verb)
                figures.append(await scenarios.measure(subject, door.door, verb, operation, clients, seconds))
                print(line(figures[-1]), flush=True)
    for connection in connections:
        connection.close()
    await channel.close()
    return figures


def line(figure: Figure) -> str:
    """A row."""
    genuine = GENUINE_PER_S.get((figure.verb, figure.clients)) if figure.door != "gRPC" else None
    ratio = f"{figure.per_s / genuine:.2f}" if genuine else ""
    return (
        f"| {figure.door} | {figure.verb} | {figure.clients} | {figure.per_s:.0f} | {figure.p50_ms:.2f} | "
        f"{figure.p99_ms:.2f} | {figure.cpu_us:.0f} | {ratio} |"
    )


def watch_line(figure: FanOut, label: str) -> str:
    """A row."""
    return (
        f"| {figure.watchers} | {label} | {figure.writes_per_s:.0f} | {figure.events_per_s:.0f} | "
        f"{figure.p50_ms:.1f} | {figure.p99_ms:.1f} |"
    )


async def watches(subject: Subject, seconds: float) -> list[str]:
    """Fan-out: at full speed, and at fifty writes a second."""
    rows = []
    for watchers in WATCHERS:
        for label, writes in (("as fast as it goes", 0.0), ("50 a second", 50.0)):
            rows.append(watch_line(await scenarios.fan_out(subject, watchers, writes, seconds), label))
            print(rows[-1], flush=True)
    return rows


async def memory(subject: Subject) -> list[str]:
    """What Pods cost, at rest and once they were read in JSON."""
    connections = await scenarios.connect(subject, 32)
    protobuf = Rest(connections, PROTOBUF)
    await connections[0].ask(scenarios.request("GET", scenarios.PATH))
    empty = subject.memory_bytes()
    await scenarios.fill(protobuf, 32, MEMORY_PODS, first=50_000_000)
    stored = subject.memory_bytes()
    rows = [
        f"| {MEMORY_PODS} Pods created | {stored >> 20} MiB | {(stored - empty) / MEMORY_PODS / 1024:.2f} KiB a Pod |",
    ]
    for connection in connections:
        connection.close()
    print(*rows, sep="\n", flush=True)
    return rows


async def run(seconds: float, workers: list[int]) -> str:
    """All tables."""
    parts = []
    for count in workers:
        title = f"{count} worker process{'es' if count > 1 else ''}"
        print(f"\n## {title}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncExitStack() as stack:
                subject = await start(stack, Path(folder) / "one", count)
                figures = await doors(subject, seconds)
                rows = await watches(subject, seconds)
            async with AsyncExitStack() as stack:
                subject = await start(stack, Path(folder) / "two", count)
                memories = await memory(subject)
        parts.append(
            f"## {title}\n\n"
            "| door | verb | clients | calls/s | p50 ms | p99 ms | CPU us a call | of kube-apiserver |\n"
            "|---|---|---|---|---|---|---|---|\n" + "\n".join(map(line, figures)) + "\n\n"
            "| watchers | writes | writes/s | events/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n\n| | memory of the server | |\n|---|---|---|\n"
            + "\n".join(memories)
            + "\n"
        )
    return "\n".join(parts)


def main() -> None:
    """Measure, print, and write the report if asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    tables = uvloop.run(run(args.seconds, [int(count) for count in args.workers.split(",")]))
    if args.markdown:
        system = f"{platform.system()} {platform.release()}"
        machine = f"{psutil.cpu_count()} processors, Python {platform.python_version()}, {system}"
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        begin = (
            REPORT.read_text().split("## 1 worker")[0]
            if REPORT.exists()
            else f"# The API server's doors\n\n{machine}\n\n"
        )
        REPORT.write_text(begin + tables)


if __name__ == "__main__":
    main()
