"""Rules for changed Services: their first address and family are their identity; a second one comes and goes."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.services import HEADLESS, validate_service
from navarch.services.api.validation.values import Errors, check, supported

Spec = corev1.ServiceSpec

_FIXED = "may not change once set"


def validate_service_update(new: corev1.Service, old: corev1.Service) -> Errors:
    """Check a changed Service."""
    if "ExternalName" not in (new.spec.type, old.spec.type):
        yield from _validate_addresses(new.spec, old.spec)
    balanced = new.spec.type == old.spec.type == "LoadBalancer"
    if balanced and _class_of(new.spec) != _class_of(old.spec):
        yield FieldError.invalid("spec.loadBalancerClass", _class_of(new.spec), _FIXED)
    checked = new.spec.external_traffic_policy == old.spec.external_traffic_policy == "Local"
    if balanced and checked and new.spec.health_check_node_port != old.spec.health_check_node_port:
        yield FieldError.forbidden("spec.healthCheckNodePort", names.IMMUTABLE)
    yield from validate_service(new)


def _class_of(spec: Spec) -> str | None:
    return spec.load_balancer_class if spec.HasField("load_balancer_class") else None


def _validate_addresses(new: Spec, old: Spec) -> Errors:
    was_headless, is_headless = _is_headless(old), _is_headless(new)
    if not (was_headless and is_headless):
        yield from _validate_list(new, "clusterIPs", "clusterIP", new.cluster_ips, old.cluster_ips)
    if not was_headless and not is_headless:
        yield from _validate_list(new, "ipFamilies", "ipFamily", new.ip_families, old.ip_families)


def _is_headless(spec: Spec) -> bool:
    return list(spec.cluster_ips) == [HEADLESS]


def _validate_list(spec: Spec, field: str, one: str, new: Sequence[str], old: Sequence[str]) -> Errors:
    """Check a list of up to two whose first value stays, and whose second goes only when that is asked for."""
    values = list(new)
    for index, (value, before) in enumerate(zip(new, old, strict=False)):
        if value != before and (index == 0 or len(new) == len(old)):
            yield FieldError.invalid(f"spec.{field}[{index}]", values, _FIXED)
    if old and not new:
        yield FieldError.invalid(f"spec.{field}[0]", values, f"primary {one} can not be unset")
    if len(new) == 1 < len(old) and spec.ip_family_policy != "SingleStack":
        policy = spec.ip_family_policy if spec.HasField("ip_family_policy") else None
        text = f"must be set to 'SingleStack' when releasing the secondary {one}"
        yield FieldError.invalid("spec.ipFamilyPolicy", policy, text)


def validate_service_status(new: corev1.Service, _: corev1.Service) -> Errors:
    """Check where a load balancer is reached."""
    path = "status.loadBalancer.ingress"
    points = new.status.load_balancer.ingress
    if points and new.spec.type != "LoadBalancer":
        yield FieldError.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, point in enumerate(points):
        here = f"{path}[{index}]"
        if point.ip:
            yield from check(f"{here}.ip", point.ip, names.ip_address(point.ip))
        if point.ip and not point.HasField("ip_mode"):
            yield FieldError.required(f"{here}.ipMode", "must be specified when `ip` is set")
        elif point.HasField("ip_mode") and not point.ip:
            yield FieldError.forbidden(f"{here}.ipMode", "may not be specified when `ip` is not set")
        elif point.HasField("ip_mode"):
            yield from supported(f"{here}.ipMode", point.ip_mode, ("VIP", "Proxy"))
        if point.hostname:
            yield from check(f"{here}.hostname", point.hostname, names.dns_subdomain(point.hostname))
            if not names.ip_address(point.hostname):
                text = "must be a DNS name, not an IP address"
                yield FieldError.invalid(f"{here}.hostname", point.hostname, text)
