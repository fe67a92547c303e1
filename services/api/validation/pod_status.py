"""Rules for what kubelets and controllers report about a Pod."""

from collections.abc import Iterator, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.values import Errors, check, non_negative

_OWN_CONDITIONS = ("Initialized", "PodScheduled", "Ready")
_NOT_NEGATIVE = "must be a non-negative integer"
_ONE_OF_FAMILY = "may specify no more than one IP for each IP family"


def validate_pod_status_update(new: corev1.Pod, old: corev1.Pod) -> Errors:
    """Check a status reported by a kubelet or controller."""
    status, before = new.status, old.status
    yield from validate_enums(status, "status")
    yield from _validate_conditions(status.conditions)
    if status.nominated_node_name != before.nominated_node_name and status.nominated_node_name:
        here = "status.nominatedNodeName"
        yield from check(here, status.nominated_node_name, names.dns_subdomain(status.nominated_node_name))
        if old.spec.node_name:
            yield FieldError.forbidden(here, "may not be set on pods that are already bound to a node")
    if status.observed_generation < 0:
        yield FieldError.invalid("status.observedGeneration", status.observed_generation, _NOT_NEGATIVE)
    if before.qos_class and status.qos_class != before.qos_class:
        yield FieldError.invalid("status.qosClass", status.qos_class, names.IMMUTABLE)
    for field, statuses, known in (
        ("containerStatuses", status.container_statuses, before.container_statuses),
        ("initContainerStatuses", status.init_container_statuses, before.init_container_statuses),
        ("ephemeralContainerStatuses", status.ephemeral_container_statuses, before.ephemeral_container_statuses),
    ):
        for index, one in enumerate(statuses):
            yield from non_negative(f"status.{field}[{index}].restartCount", one.restart_count)
        for index in _revived(statuses, known, old.spec):
            text = "may not be transitioned to non-terminated state"
            yield FieldError.forbidden(f"status.{field}[{index}].state", text)
    yield from _validate_claims(new)
    yield from _validate_ips(status)


def _validate_conditions(conditions: Sequence[corev1.PodCondition]) -> Errors:
    for index, condition in enumerate(conditions):
        here = f"status.conditions[{index}]"
        if condition.observed_generation < 0:
            yield FieldError.invalid(f"{here}.observedGeneration", condition.observed_generation, _NOT_NEGATIVE)
        if condition.type not in _OWN_CONDITIONS:
            yield from check(f"{here}.Type", condition.type, names.qualified_name(condition.type))


def _revived(
    statuses: Sequence[corev1.ContainerStatus], before: Sequence[corev1.ContainerStatus], spec: corev1.PodSpec
) -> Iterator[int]:
    """Which containers ended for good and yet are said to live."""
    living = {status.name for status in statuses if not status.state.HasField("terminated")}
    for index, status in enumerate(before):
        was_over = status.state.HasField("terminated") and status.name in living
        if was_over and not _restarts(status.name, status.state.terminated.exit_code, spec):
            yield index


def _restarts(name: str, exit_code: int, spec: corev1.PodSpec) -> bool:
    """Whether a container of this name starts again after this exit code; ephemeral ones never do."""
    containers = (*spec.containers, *spec.init_containers)
    rules = [(container.name, rule) for container in containers for rule in container.restart_policy_rules]
    if any(rule.action == "RestartAllContainers" for _, rule in rules):
        return True
    for owner, rule in rules:
        listed = exit_code in rule.exit_codes.values
        if owner == name and listed == (rule.exit_codes.operator == "In"):
            return True
    for container in containers:
        if container.name == name:
            policy = container.restart_policy or spec.restart_policy
            return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
    return False


def _validate_claims(pod: corev1.Pod) -> Errors:
    known, taken = {claim.name for claim in pod.spec.resource_claims}, set[str]()
    for index, claim in enumerate(pod.status.resource_claim_statuses):
        here = f"status.resourceClaimStatuses[{index}].name"
        if claim.name not in known:
            yield FieldError.invalid(here, claim.name, "must match the name of an entry in `spec.resourceClaims`")
        if claim.name in taken:
            yield FieldError.duplicate(here, claim.name)
        taken.add(claim.name)
        if claim.HasField("resource_claim_name"):
            yield from check(here, claim.resource_claim_name, names.dns_subdomain(claim.resource_claim_name))


def _validate_ips(status: corev1.PodStatus) -> Errors:
    if status.host_ips and status.host_ip != status.host_ips[0].ip:
        yield FieldError.invalid("status.hostIPs[0].ip", status.host_ips[0].ip, "must be equal to `hostIP`")
    if status.pod_ips and status.pod_ip and status.pod_ips[0].ip != status.pod_ip:
        yield FieldError.invalid("status.podIP", status.pod_ip, "must match the first entry of podIPs")
    for field, addresses in (
        ("podIPs", [one.ip for one in status.pod_ips]),
        ("hostIPs", [one.ip for one in status.host_ips]),
    ):
        wrong = [names.ip_address(address) for address in addresses]
        for index, address in enumerate(addresses):
            yield from check(f"status.{field}[{index}]", address, wrong[index])
        if not any(wrong) and len({":" in address for address in addresses}) < len(addresses):
            yield FieldError.invalid(f"status.{field}", [{"ip": address} for address in addresses], _ONE_OF_FAMILY)
