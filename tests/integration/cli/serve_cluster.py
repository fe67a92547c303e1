"""A cluster of its own process, for as long as standard input is open.

    python serve_cluster.py DIRECTORY

Prints "ready" once DIRECTORY/kubeconfig is there and both nodes are Ready.
"""

import asyncio
import sys
from pathlib import Path

from navarch.services.base.kubeconfig import write_kubeconfig
from navarch.testing.cluster import InProcessCluster

NODES = 2


async def serve(directory: Path) -> None:
    async with InProcessCluster(directory, NODES) as cluster:
        write_kubeconfig(
            directory / "kubeconfig",
            "https://127.0.0.1:1",
            cluster.credentials("kubernetes-admin", "system:masters"),
            grpc_address=cluster.api_server,
        )
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(serve(Path(sys.argv[1])))
