"""Services, slices and nodes for tests of the proxy, in few words."""

from collections.abc import Iterable
from typing import Self

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1

NODE = "node-1"
ELSEWHERE = "node-2"


class ServiceBuilder:
    """A Service in namespace `default`; `object` is what was built."""

    def __init__(self, name: str, *cluster_ips: str) -> None:
        self.object = corev1.Service()
        self.object.metadata.name = name
        self.object.metadata.namespace = "default"
        self.object.metadata.uid = f"uid-{name}"
        spec = self.object.spec
        spec.type = "ClusterIP"
        spec.cluster_ips.extend(cluster_ips)
        spec.cluster_ip = cluster_ips[0] if cluster_ips else ""
        spec.internal_traffic_policy = "Cluster"
        spec.session_affinity = "None"

    def port(self, port: int, *, name: str = "", protocol: str = "TCP", node_port: int = 0) -> Self:
        """Add a port."""
        self.object.spec.ports.add(name=name, port=port, protocol=protocol, node_port=node_port)
        if node_port and self.object.spec.type == "ClusterIP":
            self.object.spec.type = "NodePort"
        if node_port and not self.object.spec.external_traffic_policy:
            self.object.spec.external_traffic_policy = "Cluster"
        return self

    def affinity(self, seconds: int) -> Self:
        """Each client keeps its endpoint for so long."""
        self.object.spec.session_affinity = "ClientIP"
        self.object.spec.session_affinity_config.client_ip.timeout_seconds = seconds
        return self

    def internal_local(self) -> Self:
        """Cluster traffic stays on the node."""
        self.object.spec.internal_traffic_policy = "Local"
        return self

    def external_local(self, health_check_node_port: int = 0) -> Self:
        """Outside traffic stays on the node."""
        self.object.spec.external_traffic_policy = "Local"
        self.object.spec.health_check_node_port = health_check_node_port
        return self

    def load_balancer(self, *ips: str, mode: str = "VIP", ranges: Iterable[str] = ()) -> Self:
        """Addresses that a load balancer gave."""
        self.object.spec.type = "LoadBalancer"
        if not self.object.spec.external_traffic_policy:
            self.object.spec.external_traffic_policy = "Cluster"
        self.object.spec.load_balancer_source_ranges.extend(ranges)
        for ip in ips:
            self.object.status.load_balancer.ingress.add(ip=ip, ip_mode=mode)
        return self

    def external(self, *ips: str) -> Self:
        """External addresses."""
        self.object.spec.external_ips.extend(ips)
        return self


class SliceBuilder:
    """An EndpointSlice of a Service."""

    def __init__(self, service: str, *, family: int = 4, suffix: str = "a") -> None:
        self.object = discoveryv1.EndpointSlice(address_type=f"IPv{family}")
        self.object.metadata.name = f"{service}-{suffix}"
        self.object.metadata.namespace = "default"
        self.object.metadata.labels["kubernetes.io/service-name"] = service

    def port(self, port: int, *, name: str = "", protocol: str = "TCP") -> Self:
        """Where its endpoints listen."""
        self.object.ports.add(name=name, port=port, protocol=protocol)
        return self

    def endpoint(
        self,
        address: str,
        *,
        node: str = ELSEWHERE,
        ready: bool = True,
        serving: bool | None = None,
        terminating: bool = False,
        zones: Iterable[str] = (),
        nodes: Iterable[str] = (),
    ) -> Self:
        """Add an endpoint."""
        endpoint = self.object.endpoints.add(node_name=node)
        endpoint.addresses.append(address)
        endpoint.conditions.ready = ready
        endpoint.conditions.serving = ready if serving is None else serving
        endpoint.conditions.terminating = terminating
        for zone in zones:
            endpoint.hints.for_zones.add(name=zone)
        for name in nodes:
            endpoint.hints.for_nodes.add(name=name)
        return self


def a_node(*addresses: str, name: str = NODE, zone: str = "") -> corev1.Node:
    """A node with these addresses."""
    node = corev1.Node()
    node.metadata.name = name
    if zone:
        node.metadata.labels["topology.kubernetes.io/zone"] = zone
    for address in addresses:
        node.status.addresses.add(type="InternalIP", address=address)
    return node
