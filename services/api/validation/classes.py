"""Rules for the classes that Pods name: how important they are, what runs them."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.node import v1_pb2 as nodev1
from navarch.protos.k8s.scheduling import v1_pb2 as schedulingv1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.metadata import validate_labels
from navarch.services.api.validation.resources import validate_requirements
from navarch.services.api.validation.scheduling import validate_tolerations
from navarch.services.api.validation.values import Errors, check, immutable, optional, supported

HIGHEST_USER_PRIORITY = 10**9
_SYSTEM_PREFIX = "system-"
_SYSTEM_CLASSES = {"system-cluster-critical": 2 * 10**9, "system-node-critical": 2 * 10**9 + 1000}


def validate_priority_class(priority_class: schedulingv1.PriorityClass) -> Errors:
    """Check a PriorityClass (its metadata aside)."""
    name = priority_class.metadata.name
    if name.startswith(_SYSTEM_PREFIX):
        if reason := _not_system(priority_class):
            text = (
                f"priority class names with '{_SYSTEM_PREFIX}' prefix are reserved for system use only. error: {reason}"
            )
            yield FieldError.forbidden("metadata.name", text)
    elif priority_class.value > HIGHEST_USER_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        yield FieldError.forbidden("value", text)
    if priority_class.HasField("preemption_policy"):
        policy = priority_class.preemption_policy
        if not policy:
            yield FieldError.required("preemptionPolicy")
        else:
            yield from supported("preemptionPolicy", policy, ("Never", "PreemptLowerPriority"))


def _not_system(priority_class: schedulingv1.PriorityClass) -> str:
    """Why a class that is named like one of the system's is none."""
    name = priority_class.metadata.name
    if name not in _SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if priority_class.value != (value := _SYSTEM_CLASSES[name]):
        return f"value of {name} PriorityClass must be {value}"
    return f"globalDefault of {name} PriorityClass must be false" if priority_class.global_default else ""


def validate_priority_class_update(new: schedulingv1.PriorityClass, old: schedulingv1.PriorityClass) -> Errors:
    """Check a changed PriorityClass: what Pods took over from it stays."""
    if new.value != old.value:
        yield FieldError.forbidden("value", "may not be changed in an update.")
    yield from immutable("preemptionPolicy", optional(new, "preemption_policy"), optional(old, "preemption_policy"))


def validate_runtime_class(runtime_class: nodev1.RuntimeClass) -> Errors:
    """Check a RuntimeClass (its metadata aside)."""
    yield from check("handler", runtime_class.handler, names.dns_label(runtime_class.handler))
    if runtime_class.HasField("overhead"):
        limits = corev1.ResourceRequirements()
        limits.limits.MergeFrom(runtime_class.overhead.pod_fixed)
        yield from validate_requirements(limits, "overhead")
    if runtime_class.HasField("scheduling"):
        scheduling = runtime_class.scheduling
        yield from validate_labels(scheduling.node_selector, "scheduling.nodeSelector")
        yield from validate_tolerations(scheduling.tolerations, "scheduling.tolerations")
        for index, toleration in enumerate(scheduling.tolerations):
            if any(same(toleration, other) for other in scheduling.tolerations[:index]):
                yield FieldError.duplicate(f"scheduling.tolerations[{index}]", str(toleration.key))


def validate_runtime_class_update(new: nodev1.RuntimeClass, old: nodev1.RuntimeClass) -> Errors:
    """Check a changed RuntimeClass: Pods that run keep what runs them."""
    yield from immutable("handler", new.handler, old.handler)
