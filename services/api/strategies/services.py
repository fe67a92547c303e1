"""Services: addresses and node ports are allocated by the server and survive updates that do not name them."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.services import default_service
from navarch.services.api.strategies.hooks import Hooks
from navarch.services.api.validation import names
from navarch.services.api.validation.service_updates import validate_service_status, validate_service_update
from navarch.services.api.validation.services import HEADLESS, validate_service

Spec = corev1.ServiceSpec

_TOPOLOGY_HINTS, _TOPOLOGY_MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


def needs_cluster_ip(spec: Spec) -> bool:
    """Whether the Service has (or shall get) an address of its own."""
    return spec.type in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_ports(spec: Spec) -> bool:
    """Whether the Service's ports are (or shall be) open on every node."""
    wanted = not spec.HasField("allocate_load_balancer_node_ports") or spec.allocate_load_balancer_node_ports
    return spec.type == "NodePort" or (spec.type == "LoadBalancer" and wanted)


def needs_health_port(spec: Spec) -> bool:
    """Whether load balancers ask every node for the Service's health, at a port of its own."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def _prepare_create(service: corev1.Service) -> None:
    spec = service.spec
    if spec.cluster_ip and not spec.cluster_ips:
        spec.cluster_ips.append(spec.cluster_ip)
    elif spec.cluster_ips and not spec.cluster_ip:
        spec.cluster_ip = spec.cluster_ips[0]


def _prepare_update(service: corev1.Service, old_service: corev1.Service) -> None:
    spec, old = service.spec, old_service.spec
    _align_cluster_ips(spec, old)
    if needs_cluster_ip(old) and needs_cluster_ip(spec):
        _keep_cluster_ips(spec, old)
    if needs_node_ports(old) and needs_node_ports(spec):
        _keep_node_ports(spec, old)
    if spec.health_check_node_port == 0 and needs_health_port(spec) and needs_health_port(old):
        spec.health_check_node_port = old.health_check_node_port
    _drop_outgrown(spec, old)


def _align_cluster_ips(spec: Spec, old: Spec) -> None:
    """Clients that know only clusterIP change it alone; clusterIPs follows."""
    if spec.cluster_ip == old.cluster_ip or list(spec.cluster_ips) not in ([], list(old.cluster_ips)):
        return
    if spec.cluster_ip:
        spec.cluster_ips[:1] = [spec.cluster_ip]
    else:
        spec.ClearField("cluster_ips")


def _keep_cluster_ips(spec: Spec, old: Spec) -> None:
    if not spec.cluster_ip and not spec.cluster_ips:
        spec.cluster_ip = old.cluster_ip
    if not spec.cluster_ips and spec.cluster_ip == old.cluster_ip:
        spec.cluster_ips.extend(old.cluster_ips)
    if not spec.ip_families:
        spec.ip_families.extend(old.ip_families)
    if old.HasField("ip_family_policy") and not spec.HasField("ip_family_policy"):
        spec.ip_family_policy = old.ip_family_policy


def _keep_node_ports(spec: Spec, old: Spec) -> None:
    before = {(port.protocol, port.port): port.node_port for port in old.ports}
    taken = {port.node_port for port in spec.ports}
    for port in spec.ports:
        kept = before.get((port.protocol, port.port), 0)
        if not port.node_port and kept not in taken:
            port.node_port = kept


def _drop_outgrown(spec: Spec, old: Spec) -> None:
    """After a change of type, drop what only the old type had, unless the caller set it anew."""
    if needs_cluster_ip(old) and not needs_cluster_ip(spec):
        _drop_addresses(spec, old)
    if needs_node_ports(old) and not needs_node_ports(spec) and _node_ports(spec) == _node_ports(old):
        for port in spec.ports:
            port.ClearField("node_port")
    if _is_external(old) and not _is_external(spec) and spec.external_traffic_policy == old.external_traffic_policy:
        spec.ClearField("external_traffic_policy")
    if needs_health_port(old) and not needs_health_port(spec) and _same(spec, old, "health_check_node_port"):
        spec.ClearField("health_check_node_port")
    if old.type == "LoadBalancer" and spec.type != "LoadBalancer":
        for field in ("allocate_load_balancer_node_ports", "load_balancer_class"):
            if _same(spec, old, field):
                spec.ClearField(field)


def _same(spec: Spec, old: Spec, field: str) -> bool:
    return spec.HasField(field) == old.HasField(field) and getattr(spec, field) == getattr(old, field)


def _drop_addresses(spec: Spec, old: Spec) -> None:
    if list(spec.cluster_ips) == list(old.cluster_ips):
        spec.ClearField("cluster_ip")
        spec.ClearField("cluster_ips")
    if list(spec.ip_families) == list(old.ip_families):
        spec.ClearField("ip_families")
    if spec.ip_family_policy == old.ip_family_policy:
        spec.ClearField("ip_family_policy")


def _node_ports(spec: Spec) -> set[int]:
    return {port.node_port for port in spec.ports}


def _is_external(spec: Spec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def _warnings(service: corev1.Service) -> Sequence[str]:
    """Say what is kept and has no effect."""
    spec, found = service.spec, []
    if _TOPOLOGY_HINTS in service.metadata.annotations:
        found.append(f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead")
    if list(spec.cluster_ips) == [HEADLESS]:
        for field, given in (
            ("loadBalancerIP", bool(spec.load_balancer_ip)),
            ("externalIPs", bool(spec.external_ips)),
            ("SessionAffinity", spec.session_affinity not in ("", "None")),
        ):
            if given:
                found.append(f"spec.{field} is ignored for headless services")
    if spec.type == "ExternalName" and spec.external_ips:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    return found


HOOKS = Hooks(
    name_rule=names.dns_1035_label,
    default=default_service,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=validate_service,
    validate_update=validate_service_update,
    validate_status=validate_service_status,
    warnings=_warnings,
)
