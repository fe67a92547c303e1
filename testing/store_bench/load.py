"""Load: processes of Node.js that send requests, and what they and the server needed for it."""

import array
import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navarch.testing.store_bench.servers import Cluster

GENERATOR = Path(__file__).resolve().parents[2] / "tests" / "bench" / "store_load" / "load.js"


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent. seconds or count: how long; watchers: 0, or how many watch what `clients` put."""

    name: str
    operation: str = "put"
    clients: int = 1
    processes: int = 1
    seconds: float = 3.0
    count: int = 0
    watchers: int = 0
    value_bytes: int = 1024
    keys: int = 10_000

    def options(self, address: str, process: int) -> str:
        """For one generator process, as its command line takes it."""
        return json.dumps(
            {
                "addresses": [address],
                "operation": self.operation,
                "clients": -(-self.clients // self.processes),
                "seconds": self.seconds,
                "count": self.count,
                "watchers": self.watchers,
                "valueBytes": self.value_bytes,
                "keys": self.keys,
                "prefix": "/watch/" if self.watchers else "/bench/",
            }
        )


@dataclass(frozen=True, slots=True)
class Result:
    """Rate (operations, or events when there are watchers), latencies, and CPU time for each, by all processes."""

    rate: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    generator_cpu_ms: float


async def measure(cluster: Cluster, load: Load) -> Result:
    """Put a load on a cluster's leader. Raises RuntimeError when a request fails."""
    address = (await cluster.leader()).address if cluster.kind != "null" else cluster.members[0].address
    before = cluster.cpu_s()
    answers = await asyncio.gather(*(_generate(load.options(address, i)) for i in range(load.processes)))
    cpu_s = cluster.cpu_s() - before
    taken = array.array("f")
    for answer in answers:
        taken.frombytes(base64.b64decode(answer["latencies_ms"]))
    latencies = sorted(taken)
    operations = sum(answer["operations"] for answer in answers)
    return Result(
        rate=sum(answer["operations"] / answer["seconds"] for answer in answers),
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[len(latencies) * 99 // 100],
        server_cpu_ms=1000 * cpu_s / operations,
        generator_cpu_ms=1000 * sum(answer["cpu_s"] for answer in answers) / operations,
    )


async def _generate(options: str) -> dict[str, Any]:
    node = await asyncio.create_subprocess_exec(
        "node", str(GENERATOR), options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await node.communicate()
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    if node.returncode:
        raise RuntimeError(f"{options}: {err.decode()[-1000:]}")
    answer: dict[str, Any] = json.loads(out)
    return answer
