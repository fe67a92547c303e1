"""Defaults of Services."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.fill import fill

_CLIENT_IP_AFFINITY_S = 3 * 60 * 60


def default_service(service: corev1.Service) -> None:
    """Complete a Service."""
    spec = service.spec
    fill(spec, session_affinity="None", type="ClusterIP")
    if spec.session_affinity == "None":
        spec.ClearField("session_affinity_config")
    elif spec.session_affinity == "ClientIP":
        fill(spec.session_affinity_config.client_ip, timeout_seconds=_CLIENT_IP_AFFINITY_S)
    for port in spec.ports:
        fill(port, protocol="TCP")
        target = port.target_port
        if not target.str_val and not target.int_val:
            target.type, target.int_val = 0, port.port
    _default_traffic(spec)
    if spec.type == "LoadBalancer":
        for ingress in service.status.load_balancer.ingress:
            if ingress.ip:
                fill(ingress, ip_mode="VIP")


def _default_traffic(spec: corev1.ServiceSpec) -> None:
    external = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))
    if external:
        fill(spec, external_traffic_policy="Cluster")
    if spec.type in ("ClusterIP", "NodePort", "LoadBalancer"):
        fill(spec, internal_traffic_policy="Cluster")
    if spec.type == "LoadBalancer":
        fill(spec, allocate_load_balancer_node_ports=True)
