"""What may change in a Pod after its creation: little, since its containers already run."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.pods import validate_pod_spec
from navarch.services.api.validation.values import Errors, check, non_negative

_ALLOWED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod_update(new: corev1.Pod, old: corev1.Pod) -> Errors:
    """Check that an update changes only what can take effect on a running Pod."""
    yield from validate_pod_spec(new.spec, "spec")
    counts = (
        ("containers", len(new.spec.containers), len(old.spec.containers)),
        ("initContainers", len(new.spec.init_containers), len(old.spec.init_containers)),
    )
    for field, ours, theirs in counts:
        if ours != theirs:
            yield FieldError.forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
    yield from _validate_deadline(new.spec, old.spec)
    yield from _validate_tolerations(new.spec.tolerations, old.spec.tolerations)
    yield from _validate_gates(new.spec, old.spec)
    if not same(_with_allowed_changes(new.spec, old.spec), old.spec):
        yield FieldError.forbidden("spec", _ALLOWED)


def _with_allowed_changes(new: corev1.PodSpec, old: corev1.PodSpec) -> corev1.PodSpec:
    """The new spec with all that may differ put back; what is then left must equal the old one."""
    spec = corev1.PodSpec()
    spec.CopyFrom(new)
    for containers, others in ((spec.containers, old.containers), (spec.init_containers, old.init_containers)):
        for container, other in zip(containers, others, strict=True):
            container.image = other.image
    spec.ClearField("active_deadline_seconds")
    if old.HasField("active_deadline_seconds"):
        spec.active_deadline_seconds = old.active_deadline_seconds
    for field in ("tolerations", "scheduling_gates"):
        spec.ClearField(field)
        getattr(spec, field).MergeFrom(getattr(old, field))
    if old.termination_grace_period_seconds < 0 and new.termination_grace_period_seconds == 1:
        spec.termination_grace_period_seconds = old.termination_grace_period_seconds
    if old.scheduling_gates and old.node_selector.items() <= new.node_selector.items():
        # A gated Pod has not been placed yet, so its choice of nodes may still be narrowed.
        spec.ClearField("node_selector")
        spec.node_selector.update(old.node_selector)
        if not old.HasField("affinity"):
            spec.ClearField("affinity")
    return spec


def _validate_deadline(new: corev1.PodSpec, old: corev1.PodSpec) -> Errors:
    path = "spec.activeDeadlineSeconds"
    if new.HasField("active_deadline_seconds"):
        value = new.active_deadline_seconds
        if old.HasField("active_deadline_seconds") and value > old.active_deadline_seconds:
            yield FieldError.invalid(path, value, "must be less than or equal to previous value")
    elif old.HasField("active_deadline_seconds"):
        yield FieldError.invalid(
            path, old.active_deadline_seconds, "must not update from a positive integer to nil value"
        )


def _validate_tolerations(new: Sequence[corev1.Toleration], old: Sequence[corev1.Toleration]) -> Errors:
    """Old tolerations stay, at most with other seconds; new ones may join them."""
    for toleration in old:
        if not any(_same_toleration(toleration, other) for other in new):
            yield FieldError.forbidden(
                "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
            )
            return


def _same_toleration(left: corev1.Toleration, right: corev1.Toleration) -> bool:
    return (left.key, left.operator, left.value, left.effect) == (right.key, right.operator, right.value, right.effect)


def _validate_gates(new: corev1.PodSpec, old: corev1.PodSpec) -> Errors:
    added = {gate.name for gate in new.scheduling_gates} - {gate.name for gate in old.scheduling_gates}
    for name in sorted(added):
        yield FieldError.forbidden(
            "spec.schedulingGates", f"only deletion is allowed, but found new scheduling gate '{name}'"
        )


def validate_pod_status_update(new: corev1.Pod, _: corev1.Pod) -> Errors:
    """Check a status reported by a kubelet or controller."""
    yield from validate_enums(new.status, "status")
    for field, statuses in (
        ("containerStatuses", new.status.container_statuses),
        ("initContainerStatuses", new.status.init_container_statuses),
    ):
        for index, status in enumerate(statuses):
            yield from non_negative(f"status.{field}[{index}].restartCount", status.restart_count)
    yield from _validate_ips(new.status)


def _validate_ips(status: corev1.PodStatus) -> Errors:
    for index, pod_ip in enumerate(status.pod_ips):
        yield from check(f"status.podIPs[{index}]", pod_ip.ip, names.ip_address(pod_ip.ip))
    if status.pod_ips and status.pod_ip and status.pod_ips[0].ip != status.pod_ip:
        yield FieldError.invalid("status.podIP", status.pod_ip, "must match the first entry of podIPs")
