"""Services and names on three hosts, one of them behind a router: every kind, from Pods and hosts, over TCP and UDP."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api import codec
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import CLUSTER_DNS, PROXY, HostService, LabHost, Topology
from navarch.testing.private_containerd import IMAGE

from .conftest import PORT, PROBE, PYTHON, Pod, Probing, is_address, probing

VIPS, OUTSIDE_IPS = ["198.51.100.9", "2001:db8::9"], ["198.51.100.10", "2001:db8::10"]
SERVED = 80
BOTH = ("tcp", "udp")
DUAL = {"ipFamilyPolicy": "RequireDualStack"}
# What a Pod needs of its host to run Python and dig.
MOUNTED = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}
REQUESTS_A_SECOND = 200


def dns(host: LabHost) -> list[str]:
    return [
        f"--node-name={host.name}",
        f"--identity={host.name}",
        f"--listen-dns={host.addresses[0]}:10053",
        f"--advertise-address={host.addresses[0]}",
        f"--listen={host.socket('dns')}",
        f"--cluster-ip={CLUSTER_DNS}",
        f"--cluster-cidr={host.lab.topology.pod_cidrs}",
        f"--cluster-cidr={host.lab.topology.service_cidrs}",
        # Nobody: no name of these tests is outside.
        f"--upstream={host.addresses[0]}:9",
    ]


EXTRA = (
    PROXY,
    HostService("dns", "navarch.services.dns.main", lambda _: ("system:navarch-dns",), dns),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[NetworkLab]:
    with network_lab(Topology((1, 1, 2), dual_stack=True), EXTRA) as made:
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


async def answered(network: Probing, addresses: Iterable[str], port: int, *protocols: str) -> None:
    """From all Pods and hosts, with the address that the answering Pod saw."""
    questions = [f"{protocol}/{address}/{port}/1" for protocol in protocols or BOTH for address in addresses]
    sources: list[Pod | LabHost] = [*network.pods, *network.lab.hosts.values()]
    told = await asyncio.gather(*(network.ask(source, questions) for source in sources))
    for source, said in zip(sources, told, strict=True):
        wrong = {question: answer for question, answer in said.items() if not is_address(answer)}
        assert not wrong, f"from {source.name}: {wrong}\n{network.lab.logs()}"


async def test_every_kind_of_service_from_pods_and_hosts(network: Probing) -> None:
    """Over both versions of IP; the third host is behind a router, and reached over VXLAN."""
    plain = await service(network, "plain", **DUAL)
    assert [ip_address(address).version for address in plain.spec.cluster_ips] == [4, 6]
    await answered(network, plain.spec.cluster_ips, SERVED)
    single = await service(network, "single", ipFamilies=["IPv6"])
    assert [ip_address(address).version for address in single.spec.cluster_ips] == [6]
    await answered(network, single.spec.cluster_ips, SERVED)
    sticky = await service(network, "sticky", sessionAffinity="ClientIP", **DUAL)
    await answered(network, sticky.spec.cluster_ips, SERVED)
    own = await service(network, "own", internalTrafficPolicy="Local", **DUAL)
    await answered(network, own.spec.cluster_ips, SERVED)
    await service(network, "given", externalIPs=OUTSIDE_IPS, **DUAL)
    await answered(network, OUTSIDE_IPS, SERVED)
    balanced = await service(network, "balanced", type="LoadBalancer", **DUAL)
    for address in VIPS:
        balanced.status.load_balancer.ingress.add(ip=address, ip_mode="VIP")
    await network.client.update_status(balanced)
    await answered(network, VIPS, SERVED)
    nodes = [address for host in network.lab.hosts.values() for address in host.addresses]
    for port in balanced.spec.ports:
        await answered(network, nodes, port.node_port, port.protocol.lower())


async def test_pods_are_seen_by_their_own_address_and_policies_hold(network: Probing) -> None:
    """Through a cluster IP a Pod keeps its address, but towards itself; a Local node port keeps the client's."""
    first, second, third = network.pods
    plain = await service(network, "seen", **DUAL)
    label = {"metadata": {"labels": {"app": "all", "alone": "yes"}}}
    await network.client.patch(corev1.Pod, second.name, "default", label, "merge")
    selected = {"externalTrafficPolicy": "Local", "selector": {"alone": "yes"}}
    local = await service(network, "local", type="NodePort", **selected, **DUAL)
    (tcp,) = (port for port in local.spec.ports if port.protocol == "TCP")
    for own, address, of_client, here, elsewhere, prefix in zip(
        first.addresses,
        plain.spec.cluster_ips,
        third.host.addresses,
        second.host.addresses,
        first.host.addresses,
        (24, 64),
        strict=True,
    ):
        question = f"tcp/{address}/{SERVED}/1"
        seen = {(await network.ask(first, [question]))[question] for _ in range(12)}
        gateway = str(ip_network(f"{own}/{prefix}", strict=False)[1])
        assert own in seen
        assert seen <= {own, gateway}
        question = f"tcp/{here}/{tcp.node_port}/1"
        assert (await network.ask(third.host, [question]))[question] == of_client
        nowhere = f"tcp/{elsewhere}/{tcp.node_port}/1"
        assert "Error" in (await network.ask(third.host, [nowhere], 2.0))[nowhere]


async def test_names_from_pods_on_each_host(network: Probing) -> None:
    headless = await service(network, "peers", clusterIP="None", **DUAL)
    plain = await service(network, "named", **DUAL)
    assert headless.spec.cluster_ip == "None"
    name = "named.default.svc.cluster.local"
    first, second = plain.spec.cluster_ips

    async def told() -> bool:
        said = await network.exec(network.pods[0], "/bin/nslookup", name, CLUSTER_DNS)
        return first in said and second in said

    await network.eventually(told, "the name is known")
    for pod in network.pods:
        assert first in await network.exec(pod, "/bin/nslookup", name)
        assert await dig(network, pod, name) == [first]
        assert await dig(network, pod, name, "AAAA", "+tcp") == [second]
        # By the search path of its resolv.conf.
        assert await dig(network, pod, "named", "+search") == [first]
        for number, kind in enumerate(("A", "AAAA")):
            own = await dig(network, pod, "peers.default.svc.cluster.local", kind)
            assert own == sorted(one.addresses[number] for one in network.pods)
        services = await dig(network, pod, f"_tcp._tcp.{name}", "SRV")
        assert services == [f"0 100 {SERVED} {name}."]
        for address in plain.spec.cluster_ips:
            assert await dig(network, pod, "-x", address) == [f"{name}."]
        assert await dig(network, pod, "kubernetes.default.svc.cluster.local") == ["10.96.0.1"]


ZONE = "svc.cluster.local"
PETS = {"my-pet": "10.244.200.100", "my-pet-2": "10.244.200.101", "": "10.244.200.102"}
# Of the specification of DNS-based service discovery, 1.1.0, by its sections; what dig says in short.
EXAMPLES = {
    # 2.2
    ("dns-version.cluster.local", "TXT"): ['"1.1.0"'],
    # 2.3
    (f"kubernetes.default.{ZONE}", "A"): ["10.96.0.1"],
    (f"_https._tcp.kubernetes.default.{ZONE}", "SRV"): [f"0 100 443 kubernetes.default.{ZONE}."],
    ("1.0.96.10.in-addr.arpa", "PTR"): [f"kubernetes.default.{ZONE}."],
    # 2.4
    (f"headless.default.{ZONE}", "A"): [*PETS.values()],
    (f"headless.default.{ZONE}", "AAAA"): ["fd01:0:0:c8::100"],
    (f"my-pet.headless.default.{ZONE}", "A"): ["10.244.200.100"],
    (f"my-pet.headless.default.{ZONE}", "AAAA"): ["fd01:0:0:c8::100"],
    (f"10-244-200-102.headless.default.{ZONE}", "A"): ["10.244.200.102"],
    (f"_https._tcp.headless.default.{ZONE}", "SRV"): [
        f"0 33 443 {name}.headless.default.{ZONE}." for name in ("10-244-200-102", "my-pet", "my-pet-2")
    ],
    ("100.200.244.10.in-addr.arpa", "PTR"): [f"my-pet.headless.default.{ZONE}."],
    # 2.5
    (f"foo.default.{ZONE}", "CNAME"): ["www.example.com."],
    # 2.6
    ("10-244-1-2.default.pod.cluster.local", "A"): ["10.244.1.2"],
    # Of none of them.
    (f"absent.default.{ZONE}", "A"): [],
}


async def test_the_specifications_examples_from_pods_on_each_host(network: Probing) -> None:
    """With dig, and with busybox's nslookup."""
    await service(network, "headless", clusterIP="None", selector={}, ports=[{"name": "https", "port": 443}], **DUAL)
    await service(network, "foo", type="ExternalName", externalName="www.example.com", selector={}, ports=[])
    for family, addresses in (("IPv4", PETS), ("IPv6", {"my-pet": "fd01:0:0:c8::100"})):
        made = discoveryv1.EndpointSlice(address_type=family)
        made.metadata.name, made.metadata.labels["kubernetes.io/service-name"] = f"pets-{family.lower()}", "headless"
        made.ports.add(name="https", port=443, protocol="TCP")
        for hostname, address in addresses.items():
            made.endpoints.add(addresses=[address], hostname=hostname or None).conditions.ready = True
        await network.client.create(made, namespace="default")

    async def follow(pod: Pod) -> None:
        # Each node's DNS is one of three, and hears of it by itself.
        for (name, kind), expected in EXAMPLES.items():
            is_told = partial(tells, network, pod, name, kind, expected)
            await network.eventually(is_told, f"{pod.name} is told of {name} {kind}: {expected}")
            # 1: there is no such name.
            look = f"/bin/nslookup -type={kind.lower()} {name}; [ $? -le 1 ]"
            said = (await network.exec(pod, "/bin/sh", "-c", look)).replace("\t", " ")
            assert all(one.rstrip(".") in said for one in expected), said
            assert expected or "NXDOMAIN" in said, said

    await asyncio.gather(*map(follow, network.pods))


async def tells(network: Probing, pod: Pod, name: str, kind: str, expected: list[str]) -> bool:
    return await dig(network, pod, name, kind) == sorted(expected)


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


async def test_a_rolling_update_loses_no_request_and_a_bad_version_gets_none(network: Probing) -> None:
    deployment = await make(network, a_deployment("v1"))
    rolled = await service(network, "rolled", selector={"app": "rolled"})
    await available(network, "rolled", 3)
    address, host = rolled.spec.cluster_ip, network.lab.hosts["host-1"]
    question = f"tcp/{address}/{SERVED}/1"
    assert is_address((await network.ask(host, [question]))[question])
    client = await asyncio.create_subprocess_exec(
        *host.namespaces.entrance,
        PYTHON,
        "-I",
        "-c",
        PROBE.read_text(),
        "load",
        address,
        str(SERVED),
        str(REQUESTS_A_SECOND),
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
    told = json.loads(said)
    assert told["failures"] == []
    assert told["requests"] > 100
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
