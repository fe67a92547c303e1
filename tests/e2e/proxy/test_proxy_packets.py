"""Real packets, a real kernel: a node with Pods and an outsider, and the proxy between them."""

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from navarch.testing.proxy_lab import (
    NODE_IP,
    NODE_IP6,
    OUTSIDE_IP,
    ProxyLab,
    exchange,
    pod_ip,
    pod_ip6,
)
from navarch.testing.proxy_objects import NODE, ServiceBuilder, SliceBuilder, a_node

VIP, VIP6 = "10.96.0.10", "fd00:96::10"
BALANCER = "198.51.100.7"
BRIDGE_IP = "10.244.1.1"


@pytest.fixture
async def lab() -> AsyncIterator[ProxyLab]:
    async with ProxyLab(pods=3) as made:
        for number in (1, 2):
            made.serve(f"pod{number}")
            made.serve(f"pod{number}", udp=True)
        await made.start_proxy()
        await made.put(a_node(NODE_IP, NODE_IP6))
        yield made


def web(*ips: str) -> ServiceBuilder:
    return ServiceBuilder("web", *(ips or (VIP,)))


def backends(*numbers: int, protocol: str = "TCP", node: str = NODE) -> SliceBuilder:
    slice = SliceBuilder("web").port(8080, protocol=protocol)
    for number in numbers:
        slice.endpoint(pod_ip(number), node=node)
    return slice


async def ask(lab: ProxyLab, name: str, host: str, port: int, *, udp: bool = False) -> str:
    return await asyncio.to_thread(lab.ask, name, host, port, udp=udp)


async def answers(lab: ProxyLab, name: str, host: str, port: int, wanted: set[str]) -> None:
    """Ask until each of the wanted answers has come, and none but those."""
    seen: set[str] = set()
    for _ in range(200):
        seen.add(await ask(lab, name, host, port))
        assert seen <= wanted
        if seen == wanted:
            return
    pytest.fail(f"only {seen} of {wanted} came")


async def silence(lab: ProxyLab, name: str, host: str, port: int) -> None:
    """Nobody answers, not even that nobody is there."""
    assert await asyncio.to_thread(lab.ask, name, host, port, patience_s=1.5) == "silence"


async def test_tcp_reaches_pods_from_everywhere(lab: ProxyLab) -> None:
    slice6 = SliceBuilder("web", family=6, suffix="six").port(8080).endpoint(pod_ip6(1), node=NODE)
    service = web(VIP, VIP6).port(80, node_port=30080).load_balancer(BALANCER, ranges=[f"{OUTSIDE_IP}/32"])
    await lab.put(service.object, backends(1, 2).object, slice6.object)
    pod = pod_ip(3)
    # Cluster IP: Pods keep their address, others are masqueraded as the node.
    await answers(lab, "pod3", VIP, 80, {f"pod1 {pod}", f"pod2 {pod}"})
    await answers(lab, "outside", VIP, 80, {f"pod1 {BRIDGE_IP}", f"pod2 {BRIDGE_IP}"})
    await answers(lab, "node", VIP, 80, {f"pod1 {BRIDGE_IP}", f"pod2 {BRIDGE_IP}"})
    # Hairpin: a Pod that reaches itself sees the node.
    await answers(lab, "pod1", VIP, 80, {f"pod1 {BRIDGE_IP}", f"pod2 {pod_ip(1)}"})
    # Node port, from each side.
    for name in ("outside", "node", "pod3"):
        await answers(lab, name, NODE_IP, 30080, {f"pod1 {BRIDGE_IP}", f"pod2 {BRIDGE_IP}"})
    # Load balancer's address: the outsider is let in, Pods are not.
    await answers(lab, "outside", BALANCER, 80, {f"pod1 {BRIDGE_IP}", f"pod2 {BRIDGE_IP}"})
    await silence(lab, "pod3", BALANCER, 80)
    # IPv6.
    assert await ask(lab, "pod3", VIP6, 80) == f"pod1 {pod_ip6(3)}"
    assert await ask(lab, "outside", VIP6, 80) == "pod1 fd00:244:1::1"
    assert await ask(lab, "outside", NODE_IP6, 30080) == "pod1 fd00:244:1::1"
    # Nobody's ports and addresses are refused at once.
    for host in (VIP, "10.96.77.7", VIP6, "fd00:96::77"):
        for name in ("pod3", "node"):
            assert await ask(lab, name, host, 81) == "refused"
    # Without endpoints.
    await lab.take(backends(1, 2).object, slice6.object)
    assert await ask(lab, "pod3", VIP, 80) == "refused"
    assert await ask(lab, "outside", NODE_IP, 30080) == "refused"
    assert await ask(lab, "node", VIP, 80) == "refused"
    assert await ask(lab, "pod3", VIP, 80, udp=True) == "refused"


async def test_local_traffic_keeps_its_source_and_its_node(lab: ProxyLab) -> None:
    service = web().port(80, node_port=30080).load_balancer(BALANCER).external_local(30999)
    mixed = backends(1).endpoint(pod_ip(2), node="node-2")
    await lab.put(service.object, mixed.object)
    for host, port in ((NODE_IP, 30080), (BALANCER, 80)):
        for _ in range(5):
            assert await ask(lab, "outside", host, port) == f"pod1 {OUTSIDE_IP}"
    await answers(lab, "pod3", BALANCER, 80, {f"pod1 {pod_ip(3)}", f"pod2 {pod_ip(3)}"})
    code, headers, body = await asyncio.to_thread(lab.inside, "outside", lambda: _get(f"http://{NODE_IP}:30999/"))
    assert code == 200
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "1"
    assert headers["Content-Type"].startswith("application/json")
    assert body == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 1,
        "serviceProxyHealthy": True,
    }
    # All endpoints are elsewhere: silence, so that a balancer tries another node, and it is told so.
    await lab.put(backends(1, 2, node="node-2").object)
    await silence(lab, "outside", NODE_IP, 30080)
    code, _, body = await asyncio.to_thread(lab.inside, "outside", lambda: _get(f"http://{NODE_IP}:30999/"))
    assert (code, body["localEndpoints"]) == (503, 0)


def _get(url: str) -> tuple[int, dict[str, str], dict[str, object]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as failure:
        with failure:
            return failure.code, dict(failure.headers), json.load(failure)


@pytest.mark.parametrize("family", [4, 6])
async def test_affinity_follows_the_client(lab: ProxyLab, family: int) -> None:
    vip, ip = (VIP, pod_ip) if family == 4 else (VIP6, pod_ip6)

    def slice(*numbers: int) -> SliceBuilder:
        built = SliceBuilder("web", family=family).port(8080)
        for number in numbers:
            built.endpoint(ip(number), node=NODE)
        return built

    lab.serve("pod3")
    service = web(vip).port(80).affinity(600)
    await lab.put(service.object, slice(1, 2, 3).object)
    first = await ask(lab, "outside", vip, 80)
    assert [await ask(lab, "outside", vip, 80) for _ in range(8)] == [first] * 8
    # An endpoint before it goes: its slot changes, the client stays with it.
    number = int(first[3])
    others = [other for other in (1, 2, 3) if other != number]
    await lab.put(slice(number, others[1]).object)
    await lab.put(slice(number).object)
    await lab.put(slice(*others, number).object)
    assert [await ask(lab, "outside", vip, 80) for _ in range(8)] == [first] * 8
    # A new proxy takes over what the kernel remembers.
    await lab.kill_proxy()
    await lab.start_proxy()
    await lab.put(a_node(NODE_IP, NODE_IP6), service.object, slice(1, 2, 3).object)
    assert [await ask(lab, "outside", vip, 80) for _ in range(8)] == [first] * 8
    # Its endpoint goes: another one, and that for good.
    await lab.put(slice(*others).object)
    second = await ask(lab, "outside", vip, 80)
    assert second[:4] in {f"pod{other}" for other in others}
    assert [await ask(lab, "outside", vip, 80) for _ in range(8)] == [second] * 8


async def test_udp_flows_leave_endpoints_that_are_gone(lab: ProxyLab) -> None:
    dns = ServiceBuilder("web", VIP).port(53, protocol="UDP", node_port=30053)

    async def send(client: socket.socket, host: str, port: int) -> str:
        return await asyncio.to_thread(exchange, client, host, port, udp=True)

    await lab.put(dns.object, backends(1, protocol="UDP").object)
    with lab.client("pod3", VIP, udp=True) as inner, lab.client("outside", NODE_IP, udp=True) as outer:
        assert await send(inner, VIP, 53) == f"pod1 {pod_ip(3)}"
        assert await send(outer, NODE_IP, 30053) == f"pod1 {BRIDGE_IP}"
        # The same sockets go on, and reach the other Pod.
        await lab.put(backends(2, protocol="UDP").object)
        assert await send(inner, VIP, 53) == f"pod2 {pod_ip(3)}"
        assert await send(outer, NODE_IP, 30053) == f"pod2 {BRIDGE_IP}"
        await lab.take(backends(2, protocol="UDP").object)
        assert await send(inner, VIP, 53) == "refused"


async def test_the_table_comes_back_and_connections_outlive_everything(lab: ProxyLab) -> None:
    service = web().port(80)
    await lab.put(service.object, backends(1, 2).object)
    with lab.client("pod3", VIP) as long_lived:
        await asyncio.to_thread(exchange, long_lived, VIP, 80)

        async def echoes() -> bool:
            await asyncio.to_thread(long_lived.sendall, b"still here")
            return await asyncio.to_thread(long_lived.recv, 100) == b"still here"

        wanted = {f"pod1 {pod_ip(3)}", f"pod2 {pod_ip(3)}"}
        for damage in (
            ("delete", "table", "inet", "navarch-proxy"),
            ("flush", "map", "inet", "navarch-proxy", "endpoints4-tcp"),
            ("flush", "chain", "inet", "navarch-proxy", "services"),
        ):
            lab.run("node", "nft", *damage)
            assert await echoes()
            async with asyncio.timeout(60):
                while not (await asyncio.to_thread(lab.ask, "pod3", VIP, 80, patience_s=1.0)).startswith("pod"):
                    await asyncio.sleep(0.05)
            await answers(lab, "pod3", VIP, 80, wanted)
        # Another's table is another's business.
        lab.run("node", "nft", "add", "table", "inet", "other")
        # Killed: traffic is led as before, old and new.
        await lab.kill_proxy()
        assert await echoes()
        await answers(lab, "pod3", VIP, 80, wanted)
        # The next one takes over, and knows what has changed meanwhile.
        await lab.start_proxy()
        await lab.put(a_node(NODE_IP, NODE_IP6), service.object, backends(2).object)
        assert await echoes()
        await answers(lab, "pod3", VIP, 80, {f"pod2 {pod_ip(3)}"})
    assert "other" in lab.run("node", "nft", "list", "tables")


async def test_no_request_fails_while_endpoints_come_and_go(lab: ProxyLab) -> None:
    lab.serve("pod3")
    service = web().port(80)
    await lab.put(service.object, backends(1, 2).object)
    seen: Counter[str] = Counter()
    ended = asyncio.Event()

    async def keep_asking(name: str) -> None:
        while not ended.is_set():
            seen[(await ask(lab, name, VIP, 80)).split()[0]] += 1

    askers = [asyncio.create_task(keep_asking(name)) for name in ("outside", "node")]
    for turn in range(30):
        await lab.put(backends(*((1, 2), (2, 3), (3,), (1, 3))[turn % 4]).object)
        if turn == 15:
            # A crash and a new start, which replaces the table, are nothing to them either.
            await lab.kill_proxy()
            await lab.start_proxy()
            await lab.put(a_node(NODE_IP, NODE_IP6), service.object, backends(1, 2, 3).object)
    async with asyncio.timeout(60):
        while set(seen) != {"pod1", "pod2", "pod3"}:
            await lab.put(backends(1, 2, 3).object)
    ended.set()
    await asyncio.gather(*askers)
    assert set(seen) == {"pod1", "pod2", "pod3"}
