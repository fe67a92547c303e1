"""The proxy as it runs on a node: a real API server tells it of Services, and a real kernel obeys.

All of it runs in a network namespace of its own, in a process of its own.
"""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.navarch import proxy_pb2, proxy_pb2_grpc
from navarch.services.base.clock import SystemClock
from navarch.services.base.dialing import channel
from navarch.services.proxy.service import Config, Proxy
from navarch.testing.cluster import InProcessCluster

NODE_IP, GATEWAY, POD_IP, OUTSIDE = "192.0.2.1", "192.0.2.2", "10.244.1.2", "203.0.113.5"
NODE_PORT = 30080


def test_a_node_leads_to_the_services_of_its_cluster(tmp_path: Path) -> None:
    command = ["unshare", "--net", sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def check(directory: Path) -> None:
    """What the test is about."""
    for words in (
        "link set lo up",
        "link add outer type veth peer name inner",
        "link set outer up",
        "link set inner up",
        f"addr add {NODE_IP}/24 dev outer",
        f"addr add {POD_IP}/32 dev lo",
        f"route add default via {GATEWAY}",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    serve()
    async with InProcessCluster(directory, nodes=0) as cluster:
        await cluster.client.create(a_node())
        service = await cluster.client.create(a_service())
        vip = service.spec.cluster_ip
        credentials = cluster.credentials("system:kube-proxy")
        config = Config(
            cluster.api_server,
            credentials,
            "node-1",
            cluster_cidrs=("10.244.0.0/16",),
            service_cidrs=("10.96.0.0/16",),
            listen="127.0.0.1:0",
            healthz="127.0.0.1:0",
        )
        proxy = Proxy(config, SystemClock())
        await proxy.start()
        await until(lambda: ask(vip, 80) == "refused", "a Service without endpoints is refused")
        slice = await cluster.client.create(a_slice())
        await until(lambda: ask(vip, 80) == "hello", "a Service leads to its endpoint")
        await until(lambda: ask(NODE_IP, NODE_PORT) == "hello", "so does its node port")
        assert ask("10.96.200.200", 80) == "refused"
        async with channel(proxy.address, credentials) as connection:
            await ask_grpc(proxy_pb2_grpc.ProxyStub(connection), vip)
        await asyncio.to_thread(ask_http, proxy.healthz_port)
        slice.endpoints[0].conditions.ready = False
        await cluster.client.update(slice)
        await until(lambda: ask(vip, 80) == "refused", "an endpoint that is not ready gets nothing")
        slice = await cluster.client.get(discoveryv1.EndpointSlice, "web-1", "default")
        slice.endpoints[0].conditions.ready = True
        await cluster.client.update(slice)
        await until(lambda: ask(vip, 80) == "hello", "ready again")
        await proxy.stop()
        assert ask(vip, 80) == "hello", "a proxy that is away leaves its rules"
        for _ in range(2):
            command = [sys.executable, "-m", "navarch.services.proxy.main", "--remove", f"--table={config.table}"]
            await asyncio.to_thread(subprocess.run, command, check=True)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert config.table not in tables


async def ask_grpc(stub: proxy_pb2_grpc.ProxyStub, vip: str) -> None:
    rules = await stub.ListRules(proxy_pb2.ListRulesRequest(name="web"))
    assert {(each.address, each.port, each.targets[0].address) for each in rules.frontends} == {
        (vip, 80, POD_IP),
        ("", NODE_PORT, POD_IP),
    }
    packet = proxy_pb2.ExplainPacketRequest(source=OUTSIDE, destination=NODE_IP, protocol="tcp", port=NODE_PORT)
    told = await stub.Explain(packet)
    assert (told.namespace, told.service) == ("default", "web")
    (fate,) = told.fates
    assert (fate.verdict, fate.target.address, fate.target.port, fate.masqueraded) == ("accept", POD_IP, 8080, True)
    packet.destination = OUTSIDE
    told = await stub.Explain(packet)
    assert told.service == ""
    assert [fate.HasField("target") for fate in told.fates] == [False]
    packet.destination = "nowhere"
    try:
        await stub.Explain(packet)
    except grpc.aio.AioRpcError as failure:
        assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "destination: 'nowhere' is no IP address" in str(failure.details())
    else:
        raise AssertionError("an address that is none was explained")


def ask_http(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
        assert json.load(answer)["nodeEligible"] is True
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert "kubeproxy_sync_proxy_rules_duration_seconds_count" in text
    assert "navarch_proxy_services 2.0" in text or "navarch_proxy_services 1.0" in text


def serve() -> None:
    """A Pod that says hello."""
    listening = socket.create_server((POD_IP, 8080))

    def answer() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"hello")

    threading.Thread(target=answer, daemon=True).start()


def ask(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), 5) as connection:
            return connection.recv(100).decode()
    except ConnectionRefusedError:
        return "refused"
    except OSError as failure:
        # Before the proxy has rules: no such neighbour, or nobody answers.
        return type(failure).__name__


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(0.02)
    except TimeoutError:
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False).stdout
        raise AssertionError(f"not so: {what}\n{rules}") from None


def a_node() -> corev1.Node:
    node = corev1.Node()
    node.metadata.name = "node-1"
    node.status.addresses.add(type="InternalIP", address=NODE_IP)
    return node


def a_service() -> corev1.Service:
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = "web", "default"
    service.spec.type = "NodePort"
    service.spec.ports.add(port=80, node_port=NODE_PORT)
    return service


def a_slice() -> discoveryv1.EndpointSlice:
    slice = discoveryv1.EndpointSlice(address_type="IPv4")
    slice.metadata.name, slice.metadata.namespace = "web-1", "default"
    slice.metadata.labels["kubernetes.io/service-name"] = "web"
    slice.ports.add(name="", port=8080, protocol="TCP")
    slice.endpoints.add(node_name="node-1").addresses.append(POD_IP)
    slice.endpoints[0].conditions.ready = True
    return slice


if __name__ == "__main__":
    asyncio.run(check(Path(sys.argv[1])))
