"""A proxy without an API server: objects come as lines of JSON by standard input. See `proxy_lab`.

Each line sets or removes an object, or bears a mark, which is written to standard output as soon as the kernel has
what all lines before it mean. It ends with its standard input.
"""

import asyncio
import json
import sys
from base64 import b64decode
from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.meta import key_of
from navarch.services.base.clock import SystemClock
from navarch.services.base.log import configure
from navarch.services.base.metrics import Metrics
from navarch.services.base.tasks import TaskOwner
from navarch.services.proxy.health import ProxyHealth, ServiceHealthServers
from navarch.services.proxy.measures import Measures
from navarch.services.proxy.service import filter_bridges
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.structure import Settings
from navarch.services.proxy.synchronizer import Synchronizer
from navarch.testing.proxy_objects import NODE

SETTINGS = Settings(cluster_cidrs=("10.244.0.0/16", "fd00:244::/32"), service_cidrs=("10.96.0.0/16", "fd00:96::/112"))
CLASSES: dict[str, type[Message]] = {
    "Service": corev1.Service,
    "EndpointSlice": discoveryv1.EndpointSlice,
    "Node": corev1.Node,
}


async def serve() -> None:
    """Run until standard input ends."""
    filter_bridges()
    clock = SystemClock()
    state = ProxyState(SETTINGS, NODE)
    health = ProxyHealth(clock)
    servers = ServiceHealthServers(health)
    synchronizer = Synchronizer(state, clock, Measures(Metrics()), health, servers.update)
    marks: list[int] = []

    def synced() -> None:
        for mark in marks:
            print(mark, flush=True)  # noqa: T201
        marks.clear()

    synchronizer.on_synced = synced
    tasks = TaskOwner()
    tasks.spawn(synchronizer.run(), "sync")
    tasks.spawn(synchronizer.watch(), "watch")
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        if "mark" in told:
            marks.append(told["mark"])
            synchronizer.notice()
        else:
            _hear(state, told)
    await tasks.close()
    await servers.stop()


def _hear(state: ProxyState, told: dict[str, Any]) -> None:
    kind = told.get("set") or told["remove"]
    received = CLASSES[kind].FromString(b64decode(told["object"]))
    match received:
        case corev1.Node():
            state.set_node(received)
        case corev1.Service():
            if "set" in told:
                state.set_service(received)
            else:
                state.remove_service(key_of(received))
        case discoveryv1.EndpointSlice():
            if "set" in told:
                state.set_slice(received)
            else:
                state.remove_slice(received)


if __name__ == "__main__":
    configure("info", "proxy")
    asyncio.run(serve())
