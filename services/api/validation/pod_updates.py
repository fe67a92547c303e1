"""What may change in a Pod after its creation: little, since its containers already run."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.gated_pods import restore_node_affinity, validate_narrowing
from navarch.services.api.validation.pods import validate_pod_content
from navarch.services.api.validation.values import Errors

_ALLOWED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod_update(new: corev1.Pod, old: corev1.Pod) -> Errors:
    """Check that an update changes only what can take effect on a running Pod."""
    yield from validate_pod_content(new)
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
    if old.spec.scheduling_gates:
        yield from validate_narrowing(new.spec, old.spec)
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
    if old.scheduling_gates:
        # A gated Pod has not been placed yet, so its choice of nodes may still be narrowed; how is checked apart.
        spec.ClearField("node_selector")
        spec.node_selector.update(old.node_selector)
        restore_node_affinity(spec, old)
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
    known = {gate.name for gate in old.scheduling_gates}
    for index, gate in enumerate(new.scheduling_gates):
        if gate.name not in known:
            text = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            yield FieldError.forbidden(f"spec.schedulingGates[{index}].name", text)
