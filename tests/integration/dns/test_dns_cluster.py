"""The DNS server over a real API server, asked over real sockets."""

import asyncio
from random import Random

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.navarch import dns_pb2, dns_pb2_grpc
from navarch.services.base.clock import SystemClock
from navarch.services.base.serving import channel
from navarch.services.dns.registration import NAMESPACE, SERVICE
from navarch.services.dns.service import Config, DnsService

WEB = "web.default.svc.cluster.local."


async def dig(server, *arguments: str) -> str:
    """What dig prints."""
    process = await asyncio.create_subprocess_exec(
        "dig", "@127.0.0.1", "-p", str(server.port), "+time=10", "+tries=3", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_names_follow_the_cluster(cluster, ask) -> None:
    server = await cluster.dns()
    assert await ask(server, WEB) == ("NXDOMAIN", [])
    await cluster.service("web", "10.96.0.77")

    async def is_there() -> bool:
        return await ask(server, WEB) == ("NOERROR", [f"{WEB} 5 IN A 10.96.0.77"])

    await cluster.until(is_there)
    assert await ask(server, WEB, tcp=True) == ("NOERROR", [f"{WEB} 5 IN A 10.96.0.77"])
    assert await ask(server, "77.0.96.10.in-addr.arpa.", "PTR") == (
        "NOERROR",
        [f"77.0.96.10.in-addr.arpa. 5 IN PTR {WEB}"],
    )
    await cluster.client.delete(corev1.Service, "web", "default")

    async def is_gone() -> bool:
        return (await ask(server, WEB))[0] == "NXDOMAIN"

    await cluster.until(is_gone)


async def test_a_headless_service_asked_with_dig(cluster) -> None:
    server = await cluster.dns()
    await cluster.service("db")
    await cluster.slice("db", "10.244.0.5", "10.244.0.6")
    db = "db.default.svc.cluster.local"

    async def known() -> bool:
        return len((await dig(server, "+short", db)).split()) == 2

    await cluster.until(known)
    assert sorted((await dig(server, "+short", db)).split()) == ["10.244.0.5", "10.244.0.6"]
    assert (await dig(server, "+short", "+tcp", f"db-1.{db}")).split() == ["10.244.0.6"]
    assert (await dig(server, "+short", "-x", "10.244.0.5")).split() == [f"db-0.{db}."]
    assert sorted((await dig(server, "+short", f"_http._tcp.{db}", "SRV")).splitlines()) == [
        f"0 50 8080 db-0.{db}.",
        f"0 50 8080 db-1.{db}.",
    ]
    # With a search path, as in a Pod.
    searched = await dig(server, "+search", "+domain=default.svc.cluster.local", "+ndots=5", "db")
    assert "10.244.0.5" in searched
    assert "status: NOTIMP" not in searched


async def test_a_large_answer_is_cut_off_over_udp_and_whole_over_tcp(cluster) -> None:
    server = await cluster.dns()
    await cluster.service("many")
    await cluster.slice("many", *(f"10.244.1.{number}" for number in range(1, 101)))
    many = "many.default.svc.cluster.local"

    async def known() -> bool:
        # dig asks again over TCP where it is told to.
        return len((await dig(server, "+short", many)).split()) == 100

    await cluster.until(known)
    cut = await dig(server, "+ignore", "+bufsize=512", many)
    assert " tc " in cut.replace(";", " ")
    assert "MSG SIZE  rcvd: 5" in cut or "MSG SIZE  rcvd: 4" in cut
    # Old clients that never ask over TCP still get some.
    assert cut.count("10.244.1.") > 20


async def test_it_registers_and_makes_the_service(cluster) -> None:
    server = await cluster.dns(identity="One_1", advertise_address="10.1.0.1")

    async def registered() -> bool:
        return bool((await cluster.client.list(discoveryv1.EndpointSlice, NAMESPACE)).items)

    await cluster.until(registered)
    (found,) = (await cluster.client.list(discoveryv1.EndpointSlice, NAMESPACE)).items
    assert found.metadata.name == "kube-dns-one-1"
    assert [list(each.addresses) for each in found.endpoints] == [["10.1.0.1"]]
    assert {(each.name, each.protocol, each.port) for each in found.ports} == {
        ("dns", "UDP", server.port),
        ("dns-tcp", "TCP", server.port),
    }
    service = await cluster.client.get(corev1.Service, SERVICE, NAMESPACE)
    assert (service.spec.cluster_ip, dict(service.spec.selector)) == ("10.96.0.10", {})
    # Somebody's mistake is put right.
    await cluster.client.delete(discoveryv1.EndpointSlice, found.metadata.name, NAMESPACE)
    await cluster.until(registered)
    await server.stop()
    assert not (await cluster.client.list(discoveryv1.EndpointSlice, NAMESPACE)).items


async def test_the_others_slice_goes_when_it_is_dead(cluster, ask) -> None:
    alive = await cluster.dns(identity="alive", advertise_address="10.1.0.1")
    dead = await cluster.dns(identity="dead", advertise_address="10.1.0.2")
    await cluster.service("web", "10.96.0.77")

    async def names() -> set[str]:
        return {each.metadata.name for each in (await cluster.client.list(discoveryv1.EndpointSlice, NAMESPACE)).items}

    async def both() -> bool:
        return await names() == {"kube-dns-alive", "kube-dns-dead"}

    await cluster.until(both)
    # As after kill -9: nothing is said any more, nothing is cleaned up.
    await dead._tasks.close()
    dead._registration = None

    async def one() -> bool:
        return await names() == {"kube-dns-alive"}

    await cluster.until(one)

    async def resolves() -> bool:
        return (await ask(alive, WEB))[0] == "NOERROR"

    await cluster.until(resolves)


async def test_somebody_elses_dns_is_left_alone(cluster) -> None:
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = SERVICE, NAMESPACE
    service.spec.cluster_ip = "10.96.0.10"
    service.spec.selector["k8s-app"] = "kube-dns"
    service.spec.ports.add(name="dns", protocol="UDP", port=53)
    await cluster.client.create(service)
    server = await cluster.dns(identity="one", advertise_address="10.1.0.1")
    await server._registration.sync()
    assert not (await cluster.client.list(discoveryv1.EndpointSlice, NAMESPACE)).items
    found = await cluster.client.get(corev1.Service, SERVICE, NAMESPACE)
    assert dict(found.spec.selector) == {"k8s-app": "kube-dns"}


@pytest.fixture
async def stub(cluster):
    server = await cluster.dns()
    connection = channel(f"127.0.0.1:{server.grpc_port}", cluster.issue("anybody"))
    yield dns_pb2_grpc.DnsStub(connection)
    await connection.close()


async def test_names_over_grpc(cluster, stub) -> None:
    watch = stub.Watch(dns_pb2.DnsWatchRequest(zone="default.svc.cluster.local"))
    assert await watch.read() == dns_pb2.DnsRecordsChange()
    await cluster.service("web", "10.96.0.77")
    change = await watch.read()
    assert [(each.name, each.type, each.text) for each in change.added] == [
        (WEB, "A", "10.96.0.77"),
        (f"_http._tcp.{WEB}", "SRV", f"0 100 80 {WEB}"),
    ]
    answer = await stub.Query(dns_pb2.DnsQueryRequest(name=WEB.upper()))
    assert (answer.rcode, answer.authoritative, answer.answers[0].rdata) == ("NOERROR", True, bytes((10, 96, 0, 77)))
    pages = [page async for page in stub.Records(dns_pb2.DnsRecordsRequest())]
    listed = {(each.name, each.type) for page in pages for each in page.records}
    assert {(WEB, "A"), ("77.0.96.10.in-addr.arpa.", "PTR"), ("cluster.local.", "SOA")} <= listed
    await cluster.client.delete(corev1.Service, "web", "default")
    change = await watch.read()
    assert [each.type for each in change.removed] == ["A", "SRV"]
    watch.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Query(dns_pb2.DnsQueryRequest(name=WEB, type="NONSENSE"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_health_and_metrics(cluster, ask) -> None:
    server = await cluster.dns(listen_metrics="127.0.0.1:0")
    await ask(server, "kubernetes.default.svc.cluster.local.")
    async with channel(f"127.0.0.1:{server.grpc_port}", cluster.issue("anybody")) as connection:
        health = await health_pb2_grpc.HealthStub(connection).Check(
            health_pb2.HealthCheckRequest(service="navarch.v1.Dns")
        )
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    text = (await server._render()).decode()
    assert 'dns_responses_total{proto="udp",rcode="NOERROR",type="A"} 1.0' in text
    assert "dns_request_duration_seconds_count 1.0" in text


async def test_without_an_api_server_it_answers_what_it_can(cluster, ask, upstream, records) -> None:
    fake = await upstream(records("www.example.com. 60 IN A 192.0.2.1"))
    config = Config("127.0.0.1:1", None, "127.0.0.1:0", "127.0.0.1:0", upstreams=(fake.address,))
    server = DnsService(config, SystemClock(), Random(1))
    starting = asyncio.ensure_future(server.start())
    try:

        async def bound() -> bool:
            return bool(server.port)

        await cluster.until(bound)
        assert (await ask(server, WEB))[0] == "SERVFAIL"
        assert await ask(server, "www.example.com.") == ("NOERROR", ["www.example.com. 60 IN A 192.0.2.1"])
        assert not starting.done()
    finally:
        starting.cancel()
        await server.stop()
