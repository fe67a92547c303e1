"""A cluster's objects, and a DNS core that has been told of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.dns.answers import Resolver, Settings
from navarch.services.dns.facts import service_facts, slice_facts
from navarch.services.dns.responder import Responder
from navarch.services.dns.zone import Zone


def a_service(
    name: str,
    *ips: str,
    namespace: str = "default",
    ports: Sequence[tuple[str, str, int]] = (("http", "TCP", 80),),
    external: str = "",
    publish: bool = False,
) -> corev1.Service:
    """A Service; headless without addresses."""
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = name, namespace
    if external:
        service.spec.type, service.spec.external_name = "ExternalName", external
        return service
    service.spec.type = "ClusterIP"
    service.spec.cluster_ip = ips[0] if ips else "None"
    service.spec.cluster_ips.extend(ips or ["None"])
    service.spec.publish_not_ready_addresses = publish
    for port, protocol, number in ports:
        service.spec.ports.add(name=port, protocol=protocol, port=number)
    return service


def a_slice(
    service: str,
    *endpoints: tuple[str, str, bool | None],
    name: str = "",
    namespace: str = "default",
    ports: Sequence[tuple[str, str, int]] = (("http", "TCP", 8080),),
    family: str = "IPv4",
) -> discoveryv1.EndpointSlice:
    """A slice of endpoints: address, hostname ("" for none), whether ready."""
    message = discoveryv1.EndpointSlice(address_type=family)
    message.metadata.name, message.metadata.namespace = name or f"{service}-{family}", namespace
    message.metadata.labels["kubernetes.io/service-name"] = service
    for address, hostname, ready in endpoints:
        endpoint = message.endpoints.add(addresses=[address])
        if hostname:
            endpoint.hostname = hostname
        if ready is not None:
            endpoint.conditions.ready = ready
    for port, protocol, number in ports:
        message.ports.add(name=port, protocol=protocol, port=number)
    return message


@dataclass
class Dns:
    """The core, fed as informers feed it."""

    settings: Settings = field(
        default_factory=lambda: Settings.of("cluster.local", ["10.96.0.10"], ["10.96.0.0/16", "10.244.0.0/16"])
    )
    zone: Zone = field(default_factory=Zone)

    def __post_init__(self) -> None:
        self.resolver = Resolver(self.zone, self.settings)
        self.resolver.ready = True
        self.responder = Responder(self.resolver)

    def put(self, *objects: corev1.Service | discoveryv1.EndpointSlice | str) -> None:
        """Objects as they are now; a text is the name of a Namespace."""
        for each in objects:
            if isinstance(each, str):
                topics = self.zone.put_namespace(each)
            elif isinstance(each, corev1.Service):
                topics = self.zone.put_service(each.metadata.namespace, each.metadata.name, service_facts(each))
            else:
                topics = self.zone.put_slice(each.metadata.namespace, each.metadata.name, slice_facts(each))
            self.responder.touch(topics)
            self.zone.check_invariants()

    def remove(self, *objects: corev1.Service | discoveryv1.EndpointSlice | str) -> None:
        """Objects that are gone."""
        for each in objects:
            if isinstance(each, str):
                topics = self.zone.put_namespace(each, False)
            elif isinstance(each, corev1.Service):
                topics = self.zone.put_service(each.metadata.namespace, each.metadata.name, None)
            else:
                topics = self.zone.put_slice(each.metadata.namespace, each.metadata.name, None)
            self.responder.touch(topics)
            self.zone.check_invariants()


@pytest.fixture(name="a_service")
def a_service_fixture() -> Callable[..., corev1.Service]:
    return a_service


@pytest.fixture(name="a_slice")
def a_slice_fixture() -> Callable[..., discoveryv1.EndpointSlice]:
    return a_slice


@pytest.fixture
def empty() -> Dns:
    return Dns()


@pytest.fixture
def cluster() -> Dns:
    """The cluster of the specification's examples, and what they leave out."""
    found = Dns()
    https = [("https", "TCP", 443)]
    found.put(
        "default",
        "kube-system",
        a_service("kubernetes", "10.96.0.1", "fd00:96::1", ports=https),
        a_service(
            "kube-dns", "10.96.0.10", namespace="kube-system", ports=[("dns", "UDP", 53), ("dns-tcp", "TCP", 53)]
        ),
        a_service("headless", ports=https),
        a_slice(
            "headless", ("10.244.0.100", "my-pet", True), ("10.244.0.101", "my-pet-2", None), ports=https, name="a"
        ),
        a_slice("headless", ("10.244.0.102", "", True), ("10.244.0.103", "late", False), ports=https, name="b"),
        a_slice("headless", ("fd00:244::100", "my-pet", True), ports=https, family="IPv6"),
        a_service("web", "10.96.0.20", ports=[("http", "TCP", 80), ("", "UDP", 81)]),
        a_slice("web", ("10.244.1.5", "", True)),
        a_service("foo", external="www.example.com"),
        a_service("alias", external="kubernetes.default.svc.cluster.local"),
        a_service("round", external="about.default.svc.cluster.local"),
        a_service("about", external="round.default.svc.cluster.local"),
        a_service("early", publish=True, ports=https),
        a_slice("early", ("10.244.0.103", "late", False), ports=https),
        a_service("idle", ports=https),
        a_slice("idle", ("10.244.0.104", "idler", False), ports=https),
    )
    return found
