"""Queries a second and latency on one core, of ours and of dnsmasq with the same records, by dnsperf.

    python tests/bench/bench_dns.py [seconds]

The server is bound to the first core, dnsperf to the last; on a machine with other work both share what is left.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVICES = (100, 10_000)
HOST = "127.0.0.1"


def address(number: int) -> str:
    return f"10.{97 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def serve(count: int, port: int) -> None:
    """Run our server over so many Services until killed."""
    import asyncio

    import uvloop

    from navarch.services.base.clock import SystemClock
    from navarch.services.dns.answers import Resolver, Settings
    from navarch.services.dns.facts import ServiceFacts
    from navarch.services.dns.responder import Responder
    from navarch.services.dns.udp import UdpServer
    from navarch.services.dns.zone import Zone

    zone = Zone()
    for number in range(count):
        zone.put_service("default", f"svc-{number}", ServiceFacts((address(number),)))
    resolver = Resolver(zone, Settings.of("cluster.local"))
    resolver.ready = True

    async def live() -> None:
        UdpServer(Responder(resolver), lambda outside, send: None, SystemClock()).start(HOST, port)
        await asyncio.Event().wait()

    uvloop.run(live())


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def commands(count: int, port: int, folder: Path) -> dict[str, list[str]]:
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{address(n)} svc-{n}.default.svc.cluster.local\n" for n in range(count)))
    return {
        "navarch-dns": [sys.executable, __file__, "--serve", str(count), str(port)],
        "dnsmasq": [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="),
            *(
                f"--port={port}",
                f"--listen-address={HOST}",
                "--bind-interfaces",
                f"--addn-hosts={hosts}",
                "--user=root",
            ),
        ],
    }


def wait_until_it_answers(port: int) -> None:
    query = ["dig", f"@{HOST}", "-p", str(port), "+short", "+time=1", "+tries=1", "svc-1.default.svc.cluster.local"]
    for _ in range(100):
        if subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip() == address(1):
            return
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def measure(port: int, queries: Path, seconds: float) -> tuple[float, float]:
    """Queries a second, and the 99th percentile of latency in milliseconds."""
    command = ["dnsperf", "-s", HOST, "-p", str(port), "-d", str(queries), "-l", str(seconds), "-c", "8", "-v"]
    last = str((os.cpu_count() or 1) - 1)
    output = subprocess.run(["taskset", "-c", last, *command], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Queries per second:\s+([\d.]+)", output)
    if rate is None:
        raise RuntimeError(f"dnsperf said:\n{output[-2000:]}")
    took = sorted(float(line.split()[-1]) for line in output.splitlines() if line.startswith("> "))
    return float(rate[1]), 1000 * took[int(len(took) * 0.99)] if took else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=5.0)
    parser.add_argument("--serve", type=int, nargs=2, metavar=("COUNT", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    print("| server | Services | queries/s | p99 ms |\n|---|---|---|---|")
    for count in SERVICES:
        with tempfile.TemporaryDirectory() as name:
            folder, port = Path(name), free_port()
            queries = folder / "queries"
            queries.write_text("".join(f"svc-{n}.default.svc.cluster.local A\n" for n in range(count)))
            for server, command in commands(count, port, folder).items():
                process = subprocess.Popen(["taskset", "-c", "0", *command])
                try:
                    wait_until_it_answers(port)
                    measure(port, queries, 1.0)
                    rate, p99 = measure(port, queries, options.seconds)
                finally:
                    process.terminate()
                    process.wait()
                print(f"| {server} | {count:,} | {rate:,.0f} | {p99:.2f} |", flush=True)


if __name__ == "__main__":
    main()
