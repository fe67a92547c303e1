"""Services and names on three hosts, one of them behind a router: every kind, from Pods and hosts, over TCP and UDP."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api import codec
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import CLUSTER_DNS, POD_CIDRS, SERVICE_CIDR, HostService, LabHost, Topology
from navarch.testing.private_containerd import IMAGE

from .conftest import PORT, PROBE, PYTHON, Pod, Probing, probing

VIP, OUTSIDE_IP = "198.51.100.9", "198.51.100.10"
SERVED = 80
# What a Pod needs of its host to run Python and dig.
MOUNTED = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}
REQUESTS_A_SECOND = 200


def proxy(host: LabHost) -> list[str]:
    return [
        f"--node-name={host.name}",
        f"--cluster-cidr={POD_CIDRS[0]}",
        f"--service-cidr={SERVICE_CIDR}",
        f"--listen={host.socket('proxy')}",
        f"--healthz-bind-address={host.addresses[0]}:10256",
    ]


def dns(host: LabHost) -> list[str]:
    return [
        f"--node-name={host.name}",
        f"--identity={host.name}",
        f"--listen-dns={host.addresses[0]}:10053",
        f"--advertise-address={host.addresses[0]}",
        f"--listen={host.socket('dns')}",
        f"--cluster-ip={CLUSTER_DNS}",
        f"--cluster-cidr={POD_CIDRS[0]}",
        f"--cluster-cidr={SERVICE_CIDR}",
        # Nobody: no name of these tests is outside.
        f"--upstream={host.addresses[0]}:9",
    ]


EXTRA = (
    HostService("proxy", "navarch.services.proxy.main", lambda _: ("system:kube-proxy",), proxy),
    HostService("dns", "navarch.services.dns.main", lambda _: ("system:navarch-dns",), dns),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[NetworkLab]:
    with network_lab(Topology((1, 1, 2)), EXTRA) as made:
        yield made


@pytest.fixture
async def network(lab: NetworkLab) -> AsyncIterator[Probing]:
    async with probing(lab, 1) as made:
        for pod in made.pods:
            await made.client.patch(corev1.Pod, pod.name, "default", {"metadata": {"labels": {"app": "all"}}}, "merge")
        yield made


async def make(network: Probing, document: dict[str, Any]) -> Any:
    made: Any = codec.from_json(document, strict=True)
    return await network.client.create(made, namespace="default")


async def service(network: Probing, name: str, **spec: Any) -> corev1.Service:
    """Over TCP and UDP, to all Pods unless another selector is given."""
    ports = [{"name": each.lower(), "protocol": each, "port": SERVED, "targetPort": PORT} for each in ("TCP", "UDP")]
    whole = {"selector": {"app": "all"}, "ports": ports, **spec}
    made: corev1.Service = await make(
        network, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole}
    )
    return made


async def answered(network: Probing, address: str, port: int, sources: list[Pod | LabHost]) -> None:
    """From everywhere, over TCP and UDP, with the address that the answering Pod saw."""
    questions = [f"{protocol}/{address}/{port}/1" for protocol in ("tcp", "udp")]
    for source, said in zip(
        sources, await asyncio.gather(*(network.ask(source, questions) for source in sources)), strict=True
    ):
        wrong = {question: answer for question, answer in said.items() if not re.fullmatch(r"[0-9.]+", answer)}
        assert not wrong, f"from {source.name}: {wrong}\n{network.lab.logs()}"


async def test_every_kind_of_service_from_pods_and_hosts(network: Probing) -> None:
    hosts = list(network.lab.hosts.values())
    everywhere: list[Pod | LabHost] = [*network.pods, *hosts]
    plain = await service(network, "plain")
    await answered(network, plain.spec.cluster_ip, SERVED, everywhere)
    sticky = await service(network, "sticky", sessionAffinity="ClientIP")
    await answered(network, sticky.spec.cluster_ip, SERVED, everywhere)
    own = await service(network, "own", internalTrafficPolicy="Local")
    await answered(network, own.spec.cluster_ip, SERVED, everywhere)
    given = await service(network, "given", externalIPs=[OUTSIDE_IP])
    await answered(network, OUTSIDE_IP, SERVED, everywhere)
    assert given.spec.external_ips == [OUTSIDE_IP]
    balanced = await service(network, "balanced", type="LoadBalancer")
    balanced.status.load_balancer.ingress.add(ip=VIP, ip_mode="VIP")
    await network.client.update_status(balanced)
    await answered(network, VIP, SERVED, everywhere)
    for port in balanced.spec.ports:
        protocol = port.protocol.lower()
        for host in hosts:
            question = f"{protocol}/{host.addresses[0]}/{port.node_port}/1"
            for source in everywhere:
                said = await network.ask(source, [question])
                assert re.fullmatch(r"[0-9.]+", said[question]), (source.name, said)


async def test_pods_are_seen_by_their_own_address_and_policies_hold(network: Probing) -> None:
    """Through a cluster IP a Pod keeps its address, but towards itself; a Local node port keeps the client's."""
    first, second, third = network.pods
    plain = await service(network, "seen")
    question = f"tcp/{plain.spec.cluster_ip}/{SERVED}/1"
    seen = {(await network.ask(first, [question]))[question] for _ in range(12)}
    gateway = first.addresses[0].rpartition(".")[0] + ".1"
    assert first.addresses[0] in seen
    assert seen <= {first.addresses[0], gateway}
    label = {"metadata": {"labels": {"app": "all", "alone": "yes"}}}
    await network.client.patch(corev1.Pod, second.name, "default", label, "merge")
    local = await service(network, "local", type="NodePort", externalTrafficPolicy="Local", selector={"alone": "yes"})
    (tcp,) = (port for port in local.spec.ports if port.protocol == "TCP")
    question = f"tcp/{second.host.addresses[0]}/{tcp.node_port}/1"
    client = third.host
    assert (await network.ask(client, [question]))[question] == client.addresses[0]
    nowhere = f"tcp/{first.host.addresses[0]}/{tcp.node_port}/1"
    assert "Error" in (await network.ask(client, [nowhere], 2.0))[nowhere]


async def test_names_from_pods_on_each_host(network: Probing) -> None:
    headless = await service(network, "peers", clusterIP="None")
    plain = await service(network, "named")
    assert headless.spec.cluster_ip == "None"
    name = "named.default.svc.cluster.local"

    async def told() -> bool:
        said = await network.exec(network.pods[0], "/bin/nslookup", name, CLUSTER_DNS)
        return plain.spec.cluster_ip in said

    await network.eventually(told, "the name is known")
    for pod in network.pods:
        assert plain.spec.cluster_ip in await network.exec(pod, "/bin/nslookup", name)
        assert await dig(network, pod, name) == [plain.spec.cluster_ip]
        assert await dig(network, pod, name, "+tcp") == [plain.spec.cluster_ip]
        # By the search path of its resolv.conf.
        assert await dig(network, pod, "named", "+search") == [plain.spec.cluster_ip]
        own = await dig(network, pod, "peers.default.svc.cluster.local")
        assert own == sorted(one.addresses[0] for one in network.pods)
        services = await dig(network, pod, f"_tcp._tcp.{name}", "SRV")
        assert services == [f"0 100 {SERVED} {name}."]
        assert await dig(network, pod, "-x", plain.spec.cluster_ip) == [f"{name}."]
        assert await dig(network, pod, "kubernetes.default.svc.cluster.local") == ["10.96.0.1"]


async def dig(network: Probing, pod: Pod, *words: str) -> list[str]:
    said = await network.exec(pod, "/usr/bin/dig", "+short", "+time=5", "+tries=4", *words)
    return sorted(said.split("\n")[:-1])


async def test_names_resolve_when_an_instance_dies(network: Probing) -> None:
    victim = network.lab.hosts["host-2"]
    victim.kill("dns")
    name = "kubernetes.default.svc.cluster.local"

    async def left() -> bool:
        slices = (await network.client.list(discoveryv1.EndpointSlice, "kube-system")).items
        addresses = {one.endpoints[0].addresses[0] for one in slices if one.endpoints}
        return victim.addresses[0] not in addresses and len(addresses) == 2

    await network.eventually(left, "the dead instance's endpoint is gone")
    for pod in network.pods:
        for _ in range(5):
            assert await dig(network, pod, name) == ["10.96.0.1"]
    victim.start("dns")


CLIENT = f"""
import asyncio, sys, time
async def one(address, failures):
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, {SERVED}), 5)
        writer.write(b"1\\nx"); said = await asyncio.wait_for(reader.readline(), 5); writer.close()
        if not said: failures.append("no answer")
    except (OSError, TimeoutError) as error: failures.append(repr(error))
async def main(address):
    failures, count, tasks = [], 0, set()
    loop = asyncio.get_running_loop(); stop = asyncio.Event()
    loop.add_reader(sys.stdin, stop.set)
    began = time.monotonic()
    while not stop.is_set():
        task = asyncio.ensure_future(one(address, failures)); tasks.add(task); task.add_done_callback(tasks.discard)
        count += 1
        await asyncio.sleep(max(0, began + count / {REQUESTS_A_SECOND} - time.monotonic()))
    await asyncio.gather(*tasks)
    print(count, len(failures), *sorted(set(failures))[:5], flush=True)
asyncio.run(main(sys.argv[1]))
"""


async def test_a_rolling_update_loses_no_request_and_a_bad_version_gets_none(network: Probing) -> None:
    deployment = await make(network, a_deployment("v1"))
    rolled = await service(network, "rolled", selector={"app": "rolled"})
    await available(network, "rolled", 3)
    address, host = rolled.spec.cluster_ip, network.lab.hosts["host-1"]
    question = f"tcp/{address}/{SERVED}/1"
    assert re.fullmatch(r"[0-9.]+", (await network.ask(host, [question]))[question])
    client = await asyncio.create_subprocess_exec(
        *host.namespaces.entrance,
        PYTHON,
        "-I",
        "-c",
        CLIENT,
        address,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        for version, healthy in (("v2", True), ("v3", False), ("v4", True)):
            change = {"spec": {"template": a_deployment(version, healthy=healthy)["spec"]["template"]}}
            await network.client.patch(appsv1.Deployment, "rolled", "default", change, "merge")
            if healthy:
                await available(network, "rolled", 3, version)
            else:
                await stuck(network, version)
    finally:
        said, _ = await client.communicate(b"enough")
    count, failures, *kinds = said.decode().split(maxsplit=2)
    assert (failures, kinds) == ("0", []), said.decode()
    assert int(count) > 100
    assert (await network.client.get(corev1.Service, "rolled", "default")).spec.cluster_ip == address
    assert deployment.metadata.name == "rolled"


def a_deployment(version: str, *, healthy: bool = True) -> dict[str, Any]:
    """Three Pods that answer; those of a version that is not healthy never become ready."""
    labels = {"app": "rolled", "version": version}
    probe = {"tcpSocket": {"port": PORT if healthy else PORT + 1}, "periodSeconds": 1}
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-I", "-c", PROBE.read_text(), "serve", str(PORT)],
        "readinessProbe": probe,
        "volumeMounts": [{"name": at, "mountPath": f"/{at}", "readOnly": True} for at in MOUNTED],
    }
    volumes = [{"name": at, "hostPath": {"path": path}} for at, path in MOUNTED.items()]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "rolled"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "rolled"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}},
        },
    }


async def available(network: Probing, name: str, replicas: int, version: str = "") -> None:
    async def complete() -> bool:
        found = await network.client.get(appsv1.Deployment, name, "default")
        status = found.status
        seen = status.observed_generation == found.metadata.generation
        return seen and status.replicas == status.updated_replicas == status.available_replicas == replicas

    await network.eventually(complete, f"{name} {version} is rolled out")


async def stuck(network: Probing, version: str) -> None:
    """A Pod of the version runs, and gets no traffic."""

    async def running() -> list[str]:
        pods = (await network.client.list(corev1.Pod, "default", label_selector=f"version={version}")).items
        return [pod.status.pod_ip for pod in pods if pod.status.phase == "Running"]

    addresses = await network.eventually(running, f"a Pod of {version} runs")
    slices = (await network.client.list(discoveryv1.EndpointSlice, "default")).items
    ready = {one.addresses[0] for each in slices for one in each.endpoints if one.conditions.ready}
    assert not ready & set(addresses)
