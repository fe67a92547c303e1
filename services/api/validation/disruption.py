"""Rules for PodDisruptionBudgets and for conditions in general."""

import re
from collections.abc import Iterable

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.policy import v1_pb2 as policyv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, non_negative, required, shown, supported

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_STATUSES = ("False", "True", "Unknown")
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_MAX_BYTES = 1024
_MESSAGE_MAX_BYTES = 32 * 1024


def validate_budget(budget: policyv1.PodDisruptionBudget) -> Errors:
    """Check a PodDisruptionBudget (its metadata aside)."""
    spec = budget.spec
    if spec.HasField("min_available") and spec.HasField("max_unavailable"):
        yield FieldError.invalid("spec", shown(spec), "minAvailable and maxUnavailable cannot be both set")
    for name, field in (("min_available", "minAvailable"), ("max_unavailable", "maxUnavailable")):
        if spec.HasField(name):
            yield from validate_share(getattr(spec, name), f"spec.{field}")
    yield from validate_label_selector(spec.selector, "spec.selector")
    if spec.HasField("unhealthy_pod_eviction_policy"):
        yield from supported("spec.unhealthyPodEvictionPolicy", spec.unhealthy_pod_eviction_policy, _POLICIES)


def validate_share(share: intstr_pb2.IntOrString, path: str) -> Errors:
    """Check a number of Pods, or a percentage of them up to all."""
    if share.type == 0:
        yield from non_negative(path, share.int_val)
        return
    wrong = names.percent(share.str_val)
    yield from check(path, share.str_val, wrong)
    if not wrong and int(share.str_val[:-1]) > 100:
        yield FieldError.invalid(path, share.str_val, "must not be greater than 100%")


def validate_budget_status(new: policyv1.PodDisruptionBudget, _: policyv1.PodDisruptionBudget) -> Errors:
    """Check a reported status."""
    status = new.status
    yield from validate_conditions(status.conditions, "status.conditions")
    for field, value in (
        ("disruptionsAllowed", status.disruptions_allowed),
        ("currentHealthy", status.current_healthy),
        ("desiredHealthy", status.desired_healthy),
        ("expectedPods", status.expected_pods),
    ):
        yield from non_negative(f"status.{field}", value)


def validate_conditions(conditions: Iterable[metav1.Condition], path: str) -> Errors:
    """Check conditions of the common form, one for each type."""
    taken: set[str] = set()
    for index, condition in enumerate(conditions):
        here = f"{path}[{index}]"
        if condition.type in taken:
            yield FieldError.duplicate(f"{here}.type", condition.type)
        taken.add(condition.type)
        yield from required(f"{here}.type", condition.type, names.qualified_name)
        yield from supported(f"{here}.status", condition.status, _STATUSES)
        yield from non_negative(f"{here}.observedGeneration", condition.observed_generation)
        if not condition.last_transition_time.seconds:
            yield FieldError.required(f"{here}.lastTransitionTime")
        yield from _validate_reason(condition.reason, f"{here}.reason")
        if len(condition.message.encode()) > _MESSAGE_MAX_BYTES:
            yield FieldError.too_long(f"{here}.message", "", _MESSAGE_MAX_BYTES)


def _validate_reason(reason: str, path: str) -> Errors:
    if not reason:
        yield FieldError.required(path)
    elif not _REASON.fullmatch(reason):
        text = (
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
            "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  "
            "or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', "
            f"regex used for validation is '{_REASON.pattern}')"
        )
        yield FieldError.invalid(path, reason, text)
    if len(reason.encode()) > _REASON_MAX_BYTES:
        yield FieldError.too_long(path, "", _REASON_MAX_BYTES)
