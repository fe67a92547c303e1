"""Rules for Ingresses and IngressClasses."""

import ipaddress

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import (
    Errors,
    check,
    domain_prefixed_path,
    immutable,
    required,
    required_segment,
    supported,
)

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_CONTROLLER_MAX_BYTES = 250
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
# What would let two spellings of one path match different rules.
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")


def validate_ingress(ingress: networkingv1.Ingress) -> Errors:
    """Check a new Ingress (its metadata aside)."""
    spec = ingress.spec
    yield from _validate_spec(spec, secrets=True)
    said = ingress.metadata.annotations.get(CLASS_ANNOTATION)
    if said is not None and spec.HasField("ingress_class_name") and said != spec.ingress_class_name:
        text = "must match `ingressClassName` when both are specified"
        yield FieldError.invalid(f"annotations.{CLASS_ANNOTATION}", said, text)


def validate_ingress_update(new: networkingv1.Ingress, old: networkingv1.Ingress) -> Errors:
    """Check a changed Ingress; one that has names of secrets that are none may keep such."""
    yield from _validate_spec(new.spec, secrets=not any(_wrong_secret(tls.secret_name) for tls in old.spec.tls))


def _wrong_secret(name: str) -> list[str]:
    return names.dns_subdomain(name) if name else []


def _validate_spec(spec: networkingv1.IngressSpec, *, secrets: bool) -> Errors:
    if not spec.rules and not spec.HasField("default_backend"):
        yield FieldError.invalid("spec", [], "either `defaultBackend` or `rules` must be specified")
    if spec.HasField("default_backend"):
        yield from _validate_backend(spec.default_backend, "spec.defaultBackend")
    for index, rule in enumerate(spec.rules):
        yield from _validate_rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.tls):
        here = f"spec.tls[{index}]"
        for place, host in enumerate(tls.hosts):
            rule_of_host = names.wildcard_subdomain if "*" in host else names.dns_subdomain
            yield from check(f"{here}.hosts[{place}]", host, rule_of_host(host))
        if secrets:
            yield from check(f"{here}.secretName", tls.secret_name, _wrong_secret(tls.secret_name))
    if spec.HasField("ingress_class_name"):
        name = spec.ingress_class_name
        yield from check("spec.ingressClassName", name, names.dns_subdomain(name))


def _validate_rule(rule: networkingv1.IngressRule, path: str) -> Errors:
    here = f"{path}.host"
    if rule.host:
        if _is_address(rule.host):
            yield FieldError.invalid(here, rule.host, "must be a DNS name, not an IP address")
        rule_of_host = names.wildcard_subdomain if "*" in rule.host else names.dns_subdomain
        yield from check(here, rule.host, rule_of_host(rule.host))
    if rule.ingress_rule_value.HasField("http"):
        http = rule.ingress_rule_value.http
        if not http.paths:
            yield FieldError.required(f"{path}.http.paths")
        for index, item in enumerate(http.paths):
            yield from _validate_path(item, f"{path}.http.paths[{index}]")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _validate_path(item: networkingv1.HTTPIngressPath, path: str) -> Errors:
    if not item.HasField("path_type"):
        yield FieldError.required(f"{path}.pathType", "pathType must be specified")
        return
    here, value = f"{path}.path", item.path
    if item.path_type not in _PATH_TYPES:
        yield FieldError.not_supported(f"{path}.pathType", item.path_type, _PATH_TYPES)
    elif not value.startswith("/") and (value or item.path_type != "ImplementationSpecific"):
        yield FieldError.invalid(here, value, "must be an absolute path")
    if item.path_type in ("Exact", "Prefix"):
        yield from check(here, value, (f"must not contain '{bad}'" for bad in _BAD_SEQUENCES if bad in value))
        yield from check(here, value, (f"cannot end with '{bad}'" for bad in _BAD_ENDS if value.endswith(bad)))
    yield from _validate_backend(item.backend, f"{path}.backend")


def _validate_backend(backend: networkingv1.IngressBackend, path: str) -> Errors:
    if backend.HasField("resource") and backend.HasField("service"):
        yield FieldError.invalid(path, "", "cannot set both resource and service backends")
    elif backend.HasField("resource"):
        yield from _validate_reference(backend.resource, f"{path}.resource")
    elif backend.HasField("service"):
        yield from required(f"{path}.service.name", backend.service.name, names.dns_label)
        yield from _validate_port(backend.service.port, path)
    else:
        yield FieldError.invalid(path, "", "resource or service backend is required")


def _validate_port(port: networkingv1.ServiceBackendPort, path: str) -> Errors:
    here = f"{path}.service.port"
    if port.name and port.number:
        yield FieldError.invalid(path, "", "cannot set both port name & port number")
    elif port.name:
        yield from check(f"{here}.name", port.name, names.port_name(port.name))
    elif port.number:
        yield from check(f"{here}.number", port.number, names.port_number(port.number))
    else:
        yield FieldError.required(path, "port name or number is required")


def _validate_reference(
    reference: corev1.TypedLocalObjectReference | networkingv1.IngressClassParametersReference, path: str
) -> Errors:
    if reference.HasField("api_group"):
        yield from check(f"{path}.apiGroup", reference.api_group, names.dns_subdomain(reference.api_group))
    yield from required_segment(f"{path}.kind", reference.kind)
    yield from required_segment(f"{path}.name", reference.name)


def validate_ingress_status(new: networkingv1.Ingress, _: networkingv1.Ingress) -> Errors:
    """Check the addresses at which an Ingress is served."""
    for index, point in enumerate(new.status.load_balancer.ingress):
        here = f"status.loadBalancer.ingress[{index}]"
        if point.ip:
            yield from check(f"{here}.ip", point.ip, names.ip_address(point.ip))
        if point.hostname:
            yield from check(f"{here}.hostname", point.hostname, names.dns_subdomain(point.hostname))
            if _is_address(point.hostname):
                yield FieldError.invalid(f"{here}.hostname", point.hostname, "must be a DNS name, not an IP address")


def validate_class(ingress_class: networkingv1.IngressClass) -> Errors:
    """Check an IngressClass (its metadata aside)."""
    spec, path = ingress_class.spec, "spec.controller"
    if len(spec.controller.encode()) > _CONTROLLER_MAX_BYTES:
        yield FieldError.too_long(path, "", _CONTROLLER_MAX_BYTES)
    yield from domain_prefixed_path(path, spec.controller)
    if spec.HasField("parameters"):
        yield from _validate_parameters(spec.parameters, "spec.parameters")


def _validate_parameters(parameters: networkingv1.IngressClassParametersReference, path: str) -> Errors:
    yield from _validate_reference(parameters, path)
    here = f"{path}.namespace"
    if not parameters.HasField("scope"):
        yield FieldError.required(f"{path}.scope")
        return
    yield from supported(f"{path}.scope", parameters.scope, ("Cluster", "Namespace"))
    if parameters.scope == "Namespace":
        if not parameters.HasField("namespace"):
            yield FieldError.required(here, "`parameters.scope` is set to 'Namespace'")
        else:
            yield from check(here, parameters.namespace, names.dns_label(parameters.namespace))
    elif parameters.scope == "Cluster" and parameters.HasField("namespace"):
        yield FieldError.forbidden(here, "`parameters.scope` is set to 'Cluster'")


def validate_class_update(new: networkingv1.IngressClass, old: networkingv1.IngressClass) -> Errors:
    """Check a changed IngressClass: its Ingresses keep their controller."""
    yield from immutable("spec.controller", new.spec.controller, old.spec.controller)
    yield from validate_class(new)
