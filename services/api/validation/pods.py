"""Rules for Pods and Pod templates as a whole."""

from collections.abc import Collection

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.containers import Surroundings, validate_containers
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.metadata import validate_annotations, validate_labels
from navarch.services.api.validation.resources import validate_requirements, validate_resource_list
from navarch.services.api.validation.scheduling import (
    validate_affinity,
    validate_names_once,
    validate_spread,
    validate_tolerations,
)
from navarch.services.api.validation.security import validate_pod_security
from navarch.services.api.validation.values import INT32_MAX, Errors, check, in_range, non_negative, required
from navarch.services.api.validation.volumes import validate_volumes

_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_CHARS = 2048


def validate_pod(pod: corev1.Pod) -> Errors:
    """Check a Pod (its metadata aside)."""
    yield from validate_pod_spec(pod.spec, "spec")
    if pod.spec.ephemeral_containers:
        yield FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if pod.spec.node_name and pod.spec.scheduling_gates:
        yield FieldError.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def validate_template(template: corev1.PodTemplateSpec, path: str, restart_policies: Collection[str] = ()) -> Errors:
    """Check a Pod template; `restart_policies` are those that the owner can manage (all, if empty)."""
    yield from validate_labels(template.metadata.labels, f"{path}.labels")
    yield from validate_annotations(template.metadata.annotations, f"{path}.annotations")
    yield from validate_pod_spec(template.spec, f"{path}.spec")
    policy = template.spec.restart_policy
    if restart_policies and policy and policy not in restart_policies:
        yield FieldError.not_supported(f"{path}.spec.restartPolicy", policy, restart_policies)
    if template.spec.ephemeral_containers:
        yield FieldError.forbidden(
            f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


def validate_pod_spec(spec: corev1.PodSpec, path: str) -> Errors:
    """Check a PodSpec, of a Pod or of a template."""
    yield from validate_enums(spec, path)
    yield from validate_volumes(spec.volumes, f"{path}.volumes")
    around = Surroundings(frozenset(volume.name for volume in spec.volumes), spec.host_network)
    yield from validate_containers(spec, around, path)
    for field, word in (("restartPolicy", spec.restart_policy), ("dnsPolicy", spec.dns_policy)):
        if not word:
            yield FieldError.required(f"{path}.{field}")
    yield from validate_pod_security(spec, path)
    yield from _validate_names(spec, path)
    yield from _validate_numbers(spec, path)
    yield from _validate_scheduling(spec, path)
    yield from _validate_dns(spec, f"{path}.dnsConfig")
    yield from _validate_hosts(spec, path)
    if spec.HasField("resources"):
        yield from validate_requirements(spec.resources, f"{path}.resources")
    yield from validate_resource_list(spec.overhead, f"{path}.overhead")


def _validate_names(spec: corev1.PodSpec, path: str) -> Errors:
    for field, value, rule in (
        ("serviceAccountName", spec.service_account_name, names.dns_subdomain),
        ("nodeName", spec.node_name, names.dns_subdomain),
        ("hostname", spec.hostname, names.dns_label),
        ("subdomain", spec.subdomain, names.dns_label),
        ("priorityClassName", spec.priority_class_name, names.dns_subdomain),
        ("runtimeClassName", spec.runtime_class_name, names.dns_subdomain),
        ("schedulerName", spec.scheduler_name, names.qualified_name),
    ):
        if value:
            yield from check(f"{path}.{field}", value, rule(value))
    for index, secret in enumerate(spec.image_pull_secrets):
        yield from required(f"{path}.imagePullSecrets[{index}].name", secret.name)


def _validate_numbers(spec: corev1.PodSpec, path: str) -> Errors:
    if spec.HasField("active_deadline_seconds"):
        yield from in_range(f"{path}.activeDeadlineSeconds", spec.active_deadline_seconds, 1, INT32_MAX)
    yield from non_negative(f"{path}.terminationGracePeriodSeconds", spec.termination_grace_period_seconds)


def _validate_scheduling(spec: corev1.PodSpec, path: str) -> Errors:
    yield from validate_labels(spec.node_selector, f"{path}.nodeSelector")
    if spec.HasField("affinity"):
        yield from validate_affinity(spec.affinity, f"{path}.affinity")
    yield from validate_tolerations(spec.tolerations, f"{path}.tolerations")
    yield from validate_spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints")
    gates = [gate.name for gate in spec.scheduling_gates]
    yield from validate_names_once(gates, f"{path}.schedulingGates", "name", names.qualified_name)
    for index, gate in enumerate(spec.readiness_gates):
        here = f"{path}.readinessGates[{index}].conditionType"
        yield from check(here, gate.condition_type, names.qualified_name(gate.condition_type))


def _validate_dns(spec: corev1.PodSpec, path: str) -> Errors:
    config = spec.dns_config
    if spec.dns_policy == "None":
        if not spec.HasField("dns_config"):
            yield FieldError.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not config.nameservers:
            yield FieldError.required(
                f"{path}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
            )
    if len(config.nameservers) > _MAX_NAMESERVERS:
        text = f"must not have more than {_MAX_NAMESERVERS} nameservers"
        yield FieldError.invalid(f"{path}.nameservers", list(config.nameservers), text)
    for index, address in enumerate(config.nameservers):
        yield from check(f"{path}.nameservers[{index}]", address, names.ip_address(address))
    if len(config.searches) > _MAX_SEARCHES:
        text = f"must not have more than {_MAX_SEARCHES} search paths"
        yield FieldError.invalid(f"{path}.searches", list(config.searches), text)
    if len(" ".join(config.searches)) > _MAX_SEARCH_CHARS:
        text = f"must not have more than {_MAX_SEARCH_CHARS} characters (including spaces) in the search list"
        yield FieldError.invalid(f"{path}.searches", list(config.searches), text)
    for index, option in enumerate(config.options):
        yield from required(f"{path}.options[{index}]", option.name)


def _validate_hosts(spec: corev1.PodSpec, path: str) -> Errors:
    for index, alias in enumerate(spec.host_aliases):
        here = f"{path}.hostAliases[{index}]"
        yield from check(f"{here}.ip", alias.ip, names.ip_address(alias.ip))
        for hostname in alias.hostnames:
            yield from check(f"{here}.hostnames", hostname, names.dns_subdomain(hostname))
