"""A DNS server over a real API server, and upstream servers that do as a test wants."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from random import Random

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rrset
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiConfig
from navarch.services.base.clock import SystemClock
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client
from navarch.services.dns.forward.upstreams import Upstream
from navarch.services.dns.service import Config, DnsService
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

# Generous: only a hanging test meets it.
PATIENCE_S = 60.0
HOST = "127.0.0.1"


@dataclass
class Cluster:
    client: Client
    address: str
    issue: Callable[..., Credentials]
    stack: AsyncExitStack

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.02)

    async def dns(self, **settings: object) -> DnsService:
        """A running server."""
        config = Config(
            api_server=self.address,
            credentials=self.issue("system:navarch-dns", server=True),
            listen_dns=f"{HOST}:0",
            listen=f"{HOST}:0",
            cluster_ips=("10.96.0.10",),
            cidrs=("10.96.0.0/16", "10.244.0.0/16"),
            drain_s=0.0,
        )
        service = DnsService(replace(config, **settings), SystemClock(), Random(1))
        await service.start()
        self.stack.push_async_callback(service.stop)
        return service

    async def service(self, name: str, ip: str = "", namespace: str = "default") -> corev1.Service:
        """A Service in the API server: headless without an address."""
        made = corev1.Service()
        made.metadata.name, made.metadata.namespace = name, namespace
        made.spec.cluster_ip = ip or "None"
        made.spec.ports.add(name="http", protocol="TCP", port=80)
        return await self.client.create(made)

    async def slice(self, service: str, *addresses: str, name: str = "") -> discoveryv1.EndpointSlice:
        """A slice of ready endpoints, named service-0 and on."""
        made = discoveryv1.EndpointSlice(address_type="IPv4")
        made.metadata.name, made.metadata.namespace = name or f"{service}-a", "default"
        made.metadata.labels["kubernetes.io/service-name"] = service
        for number, address in enumerate(addresses):
            made.endpoints.add(addresses=[address], hostname=f"{service}-{number}").conditions.ready = True
        made.ports.add(name="http", protocol="TCP", port=8080)
        return await self.client.create(made)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    authority = CertificateAuthority.create("test", time.time())

    def issue(name: str, *organizations: str, server: bool = False) -> Credentials:
        return authority.issue(name, organizations=organizations, ips=(HOST,), now=time.time(), server=server)

    async with AsyncExitStack() as stack:
        store = StoreService(StoreConfig(credentials=issue("etcd", server=True)))
        await store.start()
        stack.push_async_callback(store.stop)
        own = issue("kube-apiserver", "system:masters", server=True)
        api = ApiServer(ApiConfig((store.address,), own, own, listen=f"{HOST}:0"))
        await api.start()
        stack.push_async_callback(api.stop)
        address = f"{HOST}:{api.port}"
        client = Client.connect(address, issue("kubernetes-admin", "system:masters"))
        stack.push_async_callback(client.close)
        yield Cluster(client, address, issue, stack)


# Gets a query and returns the packets to answer it with.
Behaviour = Callable[[dns.message.Message], list[bytes]]


def records(*lines: str) -> Behaviour:
    """Answers with these records, whatever was asked."""

    def behave(query: dns.message.Message) -> list[bytes]:
        response = dns.message.make_response(query)
        response.answer = [dns.rrset.from_text(*line.split(maxsplit=4)) for line in lines]
        return [response.to_wire()]

    return behave


@dataclass
class FakeUpstream(asyncio.DatagramProtocol):
    """An upstream server on loopback. over_tcp: what it does there, if it listens there at all."""

    over_udp: Behaviour
    over_tcp: Behaviour | None = None
    queries: list[dns.message.Message] = field(default_factory=list)
    transport: asyncio.DatagramTransport | None = None
    port: int = 0
    passes_probes: bool = False

    @property
    def address(self) -> Upstream:
        return Upstream(HOST, self.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        if query.question[0].name.labels[-2] == b"navarch-dns-loop" and not self.passes_probes:
            return
        self.queries.append(query)
        for packet in self.over_udp(query):
            self.transport.sendto(packet, addr)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2))
        query = dns.message.from_wire(await reader.readexactly(size))
        self.queries.append(query)
        for packet in self.over_tcp(query):
            writer.write(len(packet).to_bytes(2) + packet)
        await writer.drain()
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., Awaitable[FakeUpstream]]]:
    async with AsyncExitStack() as stack:

        async def start(over_udp: Behaviour, over_tcp: Behaviour | None = None) -> FakeUpstream:
            loop = asyncio.get_running_loop()
            fake = FakeUpstream(over_udp, over_tcp)
            transport, _ = await loop.create_datagram_endpoint(lambda: fake, (HOST, 0))
            stack.callback(transport.close)
            fake.port = transport.get_extra_info("sockname")[1]
            if over_tcp is not None:
                server = await asyncio.start_server(fake.serve_tcp, HOST, fake.port)
                stack.callback(server.close)
            return fake

        yield start


@pytest.fixture(name="records")
def records_fixture() -> Callable[..., Behaviour]:
    return records


Ask = Callable[..., Awaitable[tuple[str, list[str]]]]


@pytest.fixture
def ask() -> Ask:
    """Asks a server as dnspython's client does: the response code and the sorted answers."""

    async def ask(server: DnsService, name: str, kind: str = "A", *, tcp: bool = False) -> tuple[str, list[str]]:
        query = dns.message.make_query(name, kind, use_edns=0)
        send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        response = await send(query, HOST, port=server.port, timeout=PATIENCE_S)
        lines = [line for rrset in response.answer for line in rrset.to_text().splitlines()]
        return dns.rcode.to_text(response.rcode()), sorted(lines)

    return ask
