"""What load balancers are told: about a Service's endpoints here, and about this node."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from navarch.services.base.clock import VirtualClock
from navarch.services.proxy.frontends import HealthCheck
from navarch.services.proxy.health import SICK_AFTER_S, HealthServer, ProxyHealth, ServiceHealthServers

HOST = "127.0.0.1"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def servers(clock: VirtualClock) -> AsyncIterator[tuple[ServiceHealthServers, ProxyHealth]]:
    health = ProxyHealth(clock)
    made = ServiceHealthServers(health, (HOST,))
    yield made, health
    await made.stop()


async def get(port: int, path: str = "/") -> tuple[int, dict[str, str], str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}{path}") as answer:
        return answer.status, dict(answer.headers), await answer.text()


async def test_a_service_says_how_many_endpoints_are_here(
    servers: tuple[ServiceHealthServers, ProxyHealth], unused_tcp_port: int, clock: VirtualClock
) -> None:
    made, health = servers
    check = HealthCheck(unused_tcp_port, "shop", "web", 2)
    await made.update([check])
    status, headers, text = await get(unused_tcp_port, "/healthz")
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "2"
    assert text == (
        '{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n'
        '\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}'
    )
    await made.update([HealthCheck(unused_tcp_port, "shop", "web", 0)])
    status, headers, text = await get(unused_tcp_port)
    assert (status, headers["X-Load-Balancing-Endpoint-Weight"]) == (503, "0")
    # A proxy that does not get its work done tells so, though there are endpoints.
    await made.update([check])
    health.queued()
    clock.advance(SICK_AFTER_S)
    status, _, text = await get(unused_tcp_port)
    assert status == 503
    assert json.loads(text)["serviceProxyHealthy"] is False
    await made.update([])
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(unused_tcp_port)


async def test_a_port_that_is_taken_harms_no_other(
    servers: tuple[ServiceHealthServers, ProxyHealth], unused_tcp_port_factory: object
) -> None:
    made, _ = servers
    assert callable(unused_tcp_port_factory)
    taken, free = unused_tcp_port_factory(), unused_tcp_port_factory()
    other = ServiceHealthServers(ProxyHealth(VirtualClock()), (HOST,))
    await other.update([HealthCheck(taken, "a", "a", 1)])
    await made.update([HealthCheck(taken, "b", "b", 1), HealthCheck(free, "b", "c", 1)])
    assert json.loads((await get(taken))[2])["service"]["name"] == "a"
    assert json.loads((await get(free))[2])["service"]["name"] == "c"
    await other.stop()


@pytest.mark.parametrize(
    ("sick", "eligible", "healthz", "livez"),
    [(False, True, 200, 200), (True, True, 503, 503), (False, False, 503, 200)],
    ids=["well", "cannot sync", "the node is about to go"],
)
async def test_a_node_says_whether_it_may_get_traffic(
    clock: VirtualClock, sick: bool, eligible: bool, healthz: int, livez: int
) -> None:
    health = ProxyHealth(clock)
    health.node_eligible = eligible
    if sick:
        health.queued()
        clock.advance(SICK_AFTER_S)
    server = HealthServer(health, lambda: b"series 1\n", clock)
    await server.start(f"{HOST}:0")
    try:
        status, _, text = await get(server.port, "/healthz")
        assert (status, json.loads(text)["nodeEligible"]) == (healthz, eligible)
        status, _, text = await get(server.port, "/livez")
        assert (status, "nodeEligible" in json.loads(text)) == (livez, False)
        assert json.loads(text)["currentTime"].endswith("Z")
        assert (await get(server.port, "/metrics"))[2] == "series 1\n"
    finally:
        await server.stop()
