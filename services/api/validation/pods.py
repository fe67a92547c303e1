"""Rules for Pods and Pod templates as a whole."""

from collections.abc import Collection

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.remembered import Remembered
from navarch.services.api.validation import names
from navarch.services.api.validation.containers import Surroundings, validate_containers
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.metadata import validate_annotations, validate_labels
from navarch.services.api.validation.pod_claims import validate_pod_claims
from navarch.services.api.validation.pod_level_resources import validate_pod_resources
from navarch.services.api.validation.pod_systems import (
    validate_host_processes,
    validate_hostname_override,
    validate_system,
    validate_user_namespace,
)
from navarch.services.api.validation.resources import validate_resource_list
from navarch.services.api.validation.scheduling import (
    validate_affinity,
    validate_spread,
    validate_tolerations,
)
from navarch.services.api.validation.security import validate_pod_security
from navarch.services.api.validation.values import INT32_MAX, Errors, check, in_range
from navarch.services.api.validation.volumes import validate_volumes

MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a Pod that only mirrors what a node runs on its own."""

_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_CHARS = 2048


def validate_pod(pod: corev1.Pod) -> Errors:
    """Check a Pod (its metadata aside)."""
    yield from validate_pod_content(pod)
    if pod.spec.ephemeral_containers:
        yield FieldError.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if pod.spec.node_name and pod.spec.scheduling_gates:
        yield FieldError.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def validate_pod_content(pod: corev1.Pod) -> Errors:
    """Check what a Pod is, new or not. A spec that was found without fault is not looked at again."""
    key = _FLAWLESS.key(pod.spec, _what_matters_besides(pod))
    if _FLAWLESS.recall(key):
        return
    errors = [*validate_pod_spec(pod.spec, "spec", pod), *_validate_account_tokens(pod.spec)]
    if not errors:
        _FLAWLESS.keep(key, True)
    yield from errors


_FLAWLESS: Remembered[bool] = Remembered()


def _what_matters_besides(pod: corev1.Pod) -> tuple[str, bool]:
    """What of a Pod's metadata decides whether its spec is right."""
    has_derived_names = any(volume.volume_source.HasField("ephemeral") for volume in pod.spec.volumes)
    return pod.metadata.name if has_derived_names else "", MIRROR in pod.metadata.annotations


def _validate_account_tokens(spec: corev1.PodSpec) -> Errors:
    if spec.service_account_name:
        return
    for index, volume in enumerate(spec.volumes):
        for place, source in enumerate(volume.volume_source.projected.sources):
            if source.HasField("service_account_token"):
                yield FieldError.forbidden(
                    f"spec.volumes[{index}].projected.sources[{place}].serviceAccountToken",
                    "must not be specified when serviceAccountName is not set",
                )


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


def validate_pod_spec(spec: corev1.PodSpec, path: str, pod: corev1.Pod | None = None) -> Errors:
    """Check a PodSpec, of a Pod or (without one) of a template."""
    yield from validate_enums(spec, path)
    if spec.volumes:
        yield from validate_volumes(spec.volumes, f"{path}.volumes", pod.metadata.name if pod else "")
    if spec.resource_claims:
        if pod and MIRROR in pod.metadata.annotations:
            yield FieldError.forbidden("", "static pods do not support resource claims")
        yield from validate_pod_claims(spec.resource_claims, f"{path}.resourceClaims")
    sources = {volume.name: _source(volume.volume_source) for volume in spec.volumes}
    claims = {claim.name for claim in spec.resource_claims if claim.name}
    yield from validate_containers(spec, Surroundings(sources, claims, pod is not None), path)
    if spec.HasField("resources"):
        yield from validate_pod_resources(spec, path)
    for field, word in (("restartPolicy", spec.restart_policy), ("dnsPolicy", spec.dns_policy)):
        if not word:
            yield FieldError.required(f"{path}.{field}")
    yield from validate_pod_security(spec, path)
    yield from _validate_names(spec, path)
    if spec.HasField("active_deadline_seconds"):
        yield from in_range(f"{path}.activeDeadlineSeconds", spec.active_deadline_seconds, 1, INT32_MAX)
    yield from _validate_scheduling(spec, path)
    if spec.HasField("dns_config") or spec.dns_policy == "None":
        yield from _validate_dns(spec, f"{path}.dnsConfig")
    if spec.host_aliases:
        yield from _validate_hosts(spec, path)
    if spec.overhead:
        yield from validate_resource_list(spec.overhead, f"{path}.overhead")
    yield from _validate_systems(spec, path)


def _source(source: corev1.VolumeSource) -> str:
    present = source.ListFields()
    return present[0][0].name if present else ""


def _validate_systems(spec: corev1.PodSpec, path: str) -> Errors:
    if spec.HasField("os"):
        yield from validate_system(spec, path)
    yield from validate_host_processes(spec, path)
    if spec.HasField("host_users") and not spec.host_users:
        yield from validate_user_namespace(spec, path)
    if spec.HasField("hostname_override"):
        yield from validate_hostname_override(spec, path)


def _validate_names(spec: corev1.PodSpec, path: str) -> Errors:
    for field, value, rule in (
        ("serviceAccountName", spec.service_account_name, names.dns_subdomain),
        ("nodeName", spec.node_name, names.dns_subdomain),
        ("hostname", spec.hostname, names.dns_label),
        ("subdomain", spec.subdomain, names.dns_label),
        ("priorityClassName", spec.priority_class_name, names.dns_subdomain),
        ("runtimeClassName", spec.runtime_class_name, names.dns_subdomain),
    ):
        if value:
            yield from check(f"{path}.{field}", value, rule(value))
    # A pull secret without a name is let through, with a warning.


def _validate_scheduling(spec: corev1.PodSpec, path: str) -> Errors:
    if spec.node_selector:
        yield from validate_labels(spec.node_selector, f"{path}.nodeSelector")
    if spec.HasField("affinity"):
        yield from validate_affinity(spec.affinity, f"{path}.affinity")
    if spec.tolerations:
        yield from validate_tolerations(spec.tolerations, f"{path}.tolerations")
    if spec.topology_spread_constraints:
        yield from validate_spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints")
    taken: set[str] = set()
    for index, gate in enumerate(spec.scheduling_gates):
        here = f"{path}.schedulingGates[{index}]"
        yield from check(here, gate.name, names.qualified_name(gate.name))
        if gate.name in taken:
            yield FieldError.duplicate(here, gate.name)
        taken.add(gate.name)
    for index, condition in enumerate(spec.readiness_gates):
        here = f"{path}.readinessGates[{index}].conditionType"
        yield from check(here, condition.condition_type, names.qualified_name(condition.condition_type))


def _validate_dns(spec: corev1.PodSpec, path: str) -> Errors:
    config = spec.dns_config
    if spec.dns_policy == "None" and not config.nameservers:
        if not spec.HasField("dns_config"):
            yield FieldError.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        else:
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield FieldError.required(f"{path}.nameservers", text)
        return
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
    for index, search in enumerate(config.searches):
        if search != ".":
            name = search.removesuffix(".")
            yield from check(f"{path}.searches[{index}]", name, names.search_domain(name))
    for index, option in enumerate(config.options):
        if not option.name:
            yield FieldError.required(f"{path}.options[{index}]", "must not be empty")


def _validate_hosts(spec: corev1.PodSpec, path: str) -> Errors:
    for index, alias in enumerate(spec.host_aliases):
        here = f"{path}.hostAliases[{index}]"
        yield from check(f"{here}.ip", alias.ip, names.ip_address(alias.ip))
        for place, hostname in enumerate(alias.hostnames):
            yield from check(f"{here}.hostnames[{place}]", hostname, names.dns_subdomain(hostname))
