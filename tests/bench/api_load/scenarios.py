"""What is asked of the servers, and what it took."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from api_load.http_load import Connection, request
from api_load.servers import Subject, now
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.api import codec, envelope
from navarch.services.base.http2.client import Http2Channel
from navarch.services.base.tls_context import client_context

PODS = 1000
PATH = "/api/v1/namespaces/default/pods"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE = "application/merge-patch+json"
# One call; gets the number of the client and of the call.
Operation = Callable[[int, int], Awaitable[object]]


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    door: str
    verb: str
    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def pod(name: str) -> corev1.Pod:
    """A Pod of 2.4 KB in JSON once defaults and status are in it, as usual ones are."""
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.metadata.labels.update({"app": "bench", "tier": "backend", "pod-template-hash": "5d4f8c7b9"})
    container = made.spec.containers.add(name="main", image="registry.example.org/team/image:1.2.3")
    for index in range(8):
        container.env.add(name=f"VARIABLE_{index}", value="some value of a usual length")
    container.resources.requests["cpu"].string = "100m"
    container.resources.requests["memory"].string = "64Mi"
    container.ports.add(container_port=8080, name="http")
    return made


class Rest:
    """The operations over HTTPS, in JSON or protobuf."""

    def __init__(self, connections: list[Connection], media: str) -> None:
        self.door = "REST protobuf" if media == PROTOBUF else "REST JSON"
        self._connections = connections
        self._media = media
        marker = "podname-x"
        message = pod(marker)
        self._body = envelope.encode(message) if media == PROTOBUF else orjson.dumps(codec.to_json(message))
        self._marker = marker.encode()
        self._own: dict[int, bytes] = {}

    def _named(self, number: int) -> tuple[str, bytes]:
        # As long as the marker: protobuf bytes hold lengths.
        name = f"p{number:08d}"
        return name, self._body.replace(self._marker, name.encode())

    async def create(self, client: int, number: int) -> object:
        """POST."""
        return await self._connections[client].ask(request("POST", PATH, self._named(number)[1], self._media))

    async def get(self, client: int, number: int) -> object:
        """GET of one that is there."""
        return await self._connections[client].ask(request("GET", f"{PATH}/p{number % PODS:08d}", media=self._media))

    async def list(self, client: int, number: int) -> object:
        """GET of the first thousand."""
        return await self._connections[client].ask(request("GET", f"{PATH}?limit={PODS}", media=self._media))

    async def patch(self, client: int, number: int) -> object:
        """PATCH of one that is there."""
        body = b'{"metadata":{"annotations":{"n":"%d"}}}' % number
        path = f"{PATH}/p{number % PODS:08d}"
        return await self._connections[client].ask(request("PATCH", path, body, MERGE, accept=self._media))

    async def update(self, client: int, number: int) -> object:
        """PUT of the client's own, changed, without a resource version."""
        path = f"{PATH}/p{client:08d}"
        if client not in self._own:
            answer = await self._connections[client].ask(request("GET", path, media=PROTOBUF))
            message = changeable(answer.partition(b"\r\n\r\n")[2])
            is_protobuf = self._media == PROTOBUF
            self._own[client] = envelope.encode(message) if is_protobuf else orjson.dumps(codec.to_json(message))
        body = self._own[client].replace(MARK, b"%08d" % (number % 100_000_000))
        return await self._connections[client].ask(request("PUT", path, body, self._media))


MARK = b"@@@@@@@@"


def changeable(enveloped: bytes) -> Any:
    """The Pod in an answer, with a mark to be replaced in it."""
    message: Any = envelope.decode(enveloped)
    message.metadata.ClearField("resource_version")
    message.metadata.ClearField("managed_fields")
    message.metadata.annotations["n"] = MARK.decode()
    return message


class Grpc:
    """The operations over gRPC."""

    door = "gRPC"

    def __init__(self, channel: Any) -> None:
        self._stub: Any = objects_pb2_grpc.ObjectsStub(channel)
        self._resource = objects_pb2.Resource(version="v1", resource="pods")
        self._own: dict[int, corev1.Pod] = {}
        self._list = channel.unary_unary(
            "/navarch.v1.Objects/List", request_serializer=objects_pb2.ListRequest.SerializeToString
        )

    async def create(self, client: int, number: int) -> object:
        """Create."""
        wanted = objects_pb2.CreateRequest(resource=self._resource, namespace="default")
        wanted.object.Pack(pod(f"p{number:08d}"))
        return await self._stub.Create(wanted)

    async def get(self, client: int, number: int) -> object:
        """Get."""
        wanted = objects_pb2.GetRequest(resource=self._resource, namespace="default", name=f"p{number % PODS:08d}")
        return await self._stub.Get(wanted)

    async def list(self, client: int, number: int) -> object:
        """List, not decoded."""
        return await self._list(objects_pb2.ListRequest(resource=self._resource, namespace="default", limit=PODS))

    async def patch(self, client: int, number: int) -> object:
        """Patch."""
        wanted = objects_pb2.PatchRequest(
            resource=self._resource, namespace="default", type=objects_pb2.PatchRequest.MERGE
        )
        wanted.name, wanted.patch = f"p{number % PODS:08d}", b'{"metadata":{"annotations":{"n":"%d"}}}' % number
        return await self._stub.Patch(wanted)

    async def update(self, client: int, number: int) -> object:
        """Update."""
        name = f"p{client:08d}"
        if client not in self._own:
            wanted = objects_pb2.GetRequest(resource=self._resource, namespace="default", name=name)
            message = corev1.Pod.FromString((await self._stub.Get(wanted)).object.value)
            message.metadata.ClearField("resource_version")
            self._own[client] = message
        self._own[client].metadata.annotations["n"] = str(number)
        change = objects_pb2.UpdateRequest(resource=self._resource, namespace="default", name=name)
        change.object.Pack(self._own[client])
        return await self._stub.Update(change)


async def measure(subject: Subject, door: str, verb: str, operation: Operation, clients: int, seconds: float) -> Figure:
    """Call from several clients for a while."""
    took: list[float] = []
    cpu_before, begin = subject.cpu_s(), now()
    end = begin + seconds

    async def loop(client: int) -> None:
        number = client
        while (start := now()) < end:
            await operation(client, measure.next + number)  # type: ignore[attr-defined]
            took.append(now() - start)
            number += clients

    await asyncio.gather(*(loop(client) for client in range(clients)))
    measure.next += 1_000_000  # type: ignore[attr-defined]
    marks = statistics.quantiles(took, n=100)
    spent = now() - begin
    cpu_us = 1e6 * (subject.cpu_s() - cpu_before) / len(took)
    return Figure(door, verb, clients, len(took) / spent, 1e3 * marks[49], 1e3 * marks[98], cpu_us)


# Numbers of created Pods never come twice in a run, and begin beyond those that are read.
measure.next = 1_000_000  # type: ignore[attr-defined]


async def fill(rest: Rest, clients: int, pods: int = PODS, first: int = 0) -> None:
    """Create the Pods that are read."""
    numbers = iter(range(first, first + pods))

    async def loop(client: int) -> None:
        for number in numbers:
            await rest.create(client, number)

    await asyncio.gather(*(loop(client) for client in range(clients)))


@dataclass(frozen=True)
class FanOut:
    """One line of the watchers' table."""

    watchers: int
    writes_per_s: float
    events_per_s: float
    p50_ms: float
    p99_ms: float


async def fan_out(subject: Subject, watchers: int, writes_per_s: float, seconds: float) -> FanOut:
    """One writer (0 writes a second: as fast as it can), many watchers; time from the write to each event."""
    context = client_context(subject.admin)
    context.check_hostname = False
    writer = await Connection.open(subject.rest_port, context)
    path = "/api/v1/namespaces/default/configmaps"
    began: dict[int, float] = {}
    took: list[float] = []
    finished = asyncio.Event()
    wanted = [0]

    def follow() -> Callable[[bytes], None]:
        rest = b""

        def on_chunk(data: bytes) -> None:
            nonlocal rest
            at = now()
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            for piece in data[:cut].split(b'"mark":"')[1:]:
                start = began.get(int(piece[: piece.find(b'"')]))
                if start is not None:
                    took.append(at - start)
            if len(took) >= wanted[0] > 0:
                finished.set()

        return on_chunk

    following = []
    for _ in range(watchers):
        connection = await Connection.open(subject.rest_port, context)
        connection.follow(request("GET", f"{path}?watch=1&resourceVersion=0&labelSelector=bench%3Dfan"), follow())
        following.append(connection)
    await asyncio.sleep(1)
    begin, number = now(), fan_out.next  # type: ignore[attr-defined]
    first = number
    while now() - begin < seconds:
        body = orjson.dumps(
            {
                "metadata": {"name": f"w{number}", "labels": {"bench": "fan"}},
                "data": {"mark": str(number), "x": "y" * 500},
            }
        )
        began[number] = now()
        await writer.ask(request("POST", path, body))
        number += 1
        if writes_per_s:
            await asyncio.sleep(max(0.0, begin + (number - first) / writes_per_s - now()))
    spent = now() - begin
    wanted[0] = (number - first) * watchers
    if len(took) < wanted[0]:
        await asyncio.wait_for(finished.wait(), 60)
    spent_all = now() - begin
    fan_out.next = number  # type: ignore[attr-defined]
    for connection in (*following, writer):
        connection.close()
    marks = statistics.quantiles(took, n=100)
    return FanOut(watchers, (number - first) / spent, len(took) / spent_all, 1e3 * marks[49], 1e3 * marks[98])


fan_out.next = 0  # type: ignore[attr-defined]


async def connect(subject: Subject, count: int) -> list[Connection]:
    """Connections of the administrator."""
    context = client_context(subject.admin)
    context.check_hostname = False
    return [await Connection.open(subject.rest_port, context) for _ in range(count)]


def channel(subject: Subject) -> Http2Channel:
    """A gRPC channel of the administrator."""
    return Http2Channel(subject.grpc_address, subject.admin)


def delete_all(path: str) -> bytes:
    """A request that empties a collection."""
    return request("DELETE", path, codec.to_json_bytes(metav1.DeleteOptions(grace_period_seconds=0)))
