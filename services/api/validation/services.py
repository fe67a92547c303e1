"""Rules for Services."""

import ipaddress

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.metadata import validate_labels
from navarch.services.api.validation.probes import validate_port
from navarch.services.api.validation.values import Errors, check, required, supported

HEADLESS = "None"
_AFFINITY_MAX_S = 86400
_MAX_FAMILIES = 2
_KUBELET_PORT = 10250
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")


def validate_service(service: corev1.Service) -> Errors:
    """Check a Service (its metadata aside)."""
    spec = service.spec
    headless = HEADLESS in (spec.cluster_ip, *spec.cluster_ips)
    if not spec.ports and not headless and spec.type != "ExternalName":
        yield FieldError.required("spec.ports")
    yield from validate_enums(spec, "spec")
    for field, word in (("type", spec.type), ("sessionAffinity", spec.session_affinity)):
        if not word:
            yield FieldError.required(f"spec.{field}")
    yield from _validate_type(spec, headless)
    yield from validate_labels(spec.selector, "spec.selector")
    yield from _validate_ports(spec)
    yield from _validate_affinity(spec)
    yield from validate_cluster_ips(spec)
    yield from _validate_external(spec)
    yield from _validate_balancer(spec)


def _validate_type(spec: corev1.ServiceSpec, headless: bool) -> Errors:
    if spec.type in ("LoadBalancer", "NodePort") and headless:
        yield FieldError.invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.type} services")
    if spec.type != "ExternalName":
        return
    if spec.cluster_ip or spec.cluster_ips:
        yield FieldError.forbidden("spec.clusterIPs", "may not be set for ExternalName services")
    yield from required("spec.externalName", spec.external_name.removesuffix("."), names.dns_subdomain)


def _validate_ports(spec: corev1.ServiceSpec) -> Errors:
    taken: set[str] = set()
    pairs: set[tuple[str, int]] = set()
    node_pairs: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.ports):
        here = f"spec.ports[{index}]"
        if port.name:
            yield from check(f"{here}.name", port.name, names.dns_label(port.name))
            if port.name in taken:
                yield FieldError.duplicate(f"{here}.name", port.name)
            taken.add(port.name)
        elif len(spec.ports) > 1:
            yield FieldError.required(f"{here}.name")
        yield from check(f"{here}.port", port.port, names.port_number(port.port))
        if not port.protocol:
            yield FieldError.required(f"{here}.protocol")
        yield from validate_port(port.target_port, f"{here}.targetPort")
        if port.HasField("app_protocol"):
            yield from check(f"{here}.appProtocol", port.app_protocol, names.qualified_name(port.app_protocol))
        if (port.protocol, port.port) in pairs:
            yield FieldError.duplicate(here, {"port": port.port, "protocol": port.protocol})
        pairs.add((port.protocol, port.port))
        if port.node_port:
            yield from _validate_node_port(port, spec.type, node_pairs, f"{here}.nodePort")


def _validate_node_port(port: corev1.ServicePort, type: str, taken: set[tuple[str, int]], path: str) -> Errors:
    if type in ("ClusterIP", "ExternalName"):
        yield FieldError.forbidden(path, f"may not be used when `type` is '{type}'")
    if (port.protocol, port.node_port) in taken:
        yield FieldError.duplicate(path, port.node_port)
    taken.add((port.protocol, port.node_port))


def _validate_affinity(spec: corev1.ServiceSpec) -> Errors:
    path = "spec.sessionAffinityConfig"
    if spec.session_affinity == "None" and spec.HasField("session_affinity_config"):
        yield FieldError.forbidden(path, "must not be set when session affinity is None")
    elif spec.session_affinity == "ClientIP":
        seconds = spec.session_affinity_config.client_ip.timeout_seconds
        if not 0 < seconds <= _AFFINITY_MAX_S:
            text = f"must be greater than 0 and less than {_AFFINITY_MAX_S}"
            yield FieldError.invalid(f"{path}.clientIP.timeoutSeconds", seconds, text)


def validate_cluster_ips(spec: corev1.ServiceSpec) -> Errors:
    """Check addresses and families against each other."""
    path = "spec.clusterIPs"
    if spec.cluster_ips and not spec.cluster_ip:
        yield FieldError.invalid(path, list(spec.cluster_ips), "must be empty when `clusterIP` is not specified")
    elif spec.cluster_ips and spec.cluster_ips[0] != spec.cluster_ip:
        yield FieldError.invalid(path, list(spec.cluster_ips), "first value must match `clusterIP`")
    if HEADLESS in spec.cluster_ips and len(spec.cluster_ips) > 1:
        yield FieldError.invalid(path, list(spec.cluster_ips), "'None' must be the first and only value")
    if len(spec.cluster_ips) > _MAX_FAMILIES:
        yield FieldError.invalid(path, list(spec.cluster_ips), "may only hold up to 2 values")
    wrong = [[] if address == HEADLESS else names.ip_address(address) for address in spec.cluster_ips]
    for index, address in enumerate(spec.cluster_ips):
        yield from check(f"{path}[{index}]", address, wrong[index])
    if any(wrong):
        return
    addresses = [address for address in spec.cluster_ips if address != HEADLESS]
    if len(set(map(family_of, addresses))) < len(addresses):
        text = "may specify no more than one IP for each IP family"
        yield FieldError.invalid(path, list(spec.cluster_ips), text)
    yield from _validate_families(spec)


def _validate_families(spec: corev1.ServiceSpec) -> Errors:
    if spec.type == "ExternalName":
        for field, present in (
            ("ipFamilies", bool(spec.ip_families)),
            ("ipFamilyPolicy", spec.HasField("ip_family_policy")),
        ):
            if present:
                yield FieldError.forbidden(f"spec.{field}", "may not be set for ExternalName services")
        return
    if len(spec.ip_families) > len(set(spec.ip_families)):
        yield FieldError.duplicate("spec.ipFamilies[1]", spec.ip_families[1])
    for index, (address, family) in enumerate(zip(spec.cluster_ips, spec.ip_families, strict=False)):
        if address != HEADLESS and not names.ip_address(address) and family_of(address) != family:
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            yield FieldError.invalid(f"spec.clusterIPs[{index}]", address, text)


def family_of(address: str) -> str:
    """ "IPv4" or "IPv6"."""
    return f"IPv{ipaddress.ip_address(address).version}"


def _validate_external(spec: corev1.ServiceSpec) -> Errors:
    for index, address in enumerate(spec.external_ips):
        here = f"spec.externalIPs[{index}]"
        wrong = names.ip_address(address)
        yield from check(here, address, wrong or non_special_ip(address))
    external = spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))
    if spec.external_traffic_policy and not external:
        yield FieldError.invalid(
            "spec.externalTrafficPolicy",
            spec.external_traffic_policy,
            "may only be set for externally-accessible services",
        )
    elif external and not spec.external_traffic_policy:
        yield FieldError.required("spec.externalTrafficPolicy")
    if spec.health_check_node_port and not (spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"):
        yield FieldError.invalid(
            "spec.healthCheckNodePort",
            spec.health_check_node_port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )


def _validate_balancer(spec: corev1.ServiceSpec) -> Errors:
    """What only load balancers have. Kubernetes writes the field of source ranges with a capital."""
    ranges, of_class = "spec.LoadBalancerSourceRanges", "spec.loadBalancerClass"
    if spec.type != "LoadBalancer":
        for path, present in (
            (ranges, bool(spec.load_balancer_source_ranges)),
            ("spec.allocateLoadBalancerNodePorts", spec.HasField("allocate_load_balancer_node_ports")),
            (of_class, spec.HasField("load_balancer_class")),
        ):
            if present:
                yield FieldError.forbidden(path, "may only be used when `type` is 'LoadBalancer'")
    elif spec.HasField("load_balancer_class"):
        yield from check(of_class, spec.load_balancer_class, names.qualified_name(spec.load_balancer_class))
    for index, block in enumerate(spec.load_balancer_source_ranges):
        yield from check(f"{ranges}[{index}]", block, names.cidr(block.strip()))
    if spec.type == "LoadBalancer":
        for index, port in enumerate(spec.ports):
            if port.port == _KUBELET_PORT:
                text = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
                yield FieldError.invalid(f"spec.ports[{index}]", port.port, text)
    if spec.HasField("traffic_distribution"):
        yield from supported("spec.trafficDistribution", spec.traffic_distribution, _DISTRIBUTIONS)


def non_special_ip(address: str) -> list[str]:
    """What makes an address unfit to send traffic to from elsewhere."""
    ip = ipaddress.ip_address(address)
    wrong = []
    if ip.is_unspecified:
        wrong.append("may not be unspecified (0.0.0.0 or ::)")
    if ip.is_loopback:
        wrong.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if ip.is_link_local:
        wrong.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if ip.is_multicast and (ip.version == 4 and address.startswith("224.0.0.")):
        wrong.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return wrong
