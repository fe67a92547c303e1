"""Rules for Deployments and ReplicaSets."""

from collections.abc import Iterable
from typing import Any

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.labels import Selector, SelectorError
from navarch.services.api.validation import names
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.pods import validate_template
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, non_negative


def validate_deployment(deployment: appsv1.Deployment) -> Errors:
    """Check a Deployment (its metadata aside)."""
    spec = deployment.spec
    yield from non_negative("spec.replicas", spec.replicas)
    yield from _validate_selector(spec.selector, spec.HasField("selector"))
    yield from _validate_owned_template(spec.template, spec.selector)
    yield from validate_enums(spec.strategy, "spec.strategy")
    yield from _validate_strategy(spec.strategy, "spec.strategy")
    yield from non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from non_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    if spec.HasField("progress_deadline_seconds"):
        deadline = spec.progress_deadline_seconds
        yield from non_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= spec.min_ready_seconds:
            yield FieldError.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def validate_replica_set(replica_set: appsv1.ReplicaSet) -> Errors:
    """Check a ReplicaSet (its metadata aside)."""
    spec = replica_set.spec
    yield from non_negative("spec.replicas", spec.replicas)
    yield from non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    yield from _validate_selector(spec.selector, spec.HasField("selector"))
    yield from _validate_owned_template(spec.template, spec.selector)


def validate_deployment_update(new: appsv1.Deployment, old: appsv1.Deployment) -> Errors:
    """Check a changed Deployment."""
    yield from validate_deployment(new)
    yield from validate_selector_unchanged(new, old)


def validate_replica_set_update(new: appsv1.ReplicaSet, old: appsv1.ReplicaSet) -> Errors:
    """Check a changed ReplicaSet."""
    yield from validate_replica_set(new)
    yield from validate_selector_unchanged(new, old)


def validate_selector_unchanged(new: Any, old: Any) -> Errors:
    """Check that a workload still owns the Pods it owned."""
    if not same(new.spec.selector, old.spec.selector):
        yield FieldError.invalid("spec.selector", _shown(new.spec.selector), names.IMMUTABLE)


def _validate_selector(selector: metav1.LabelSelector, present: bool) -> Errors:
    if not present:
        yield FieldError.required("spec.selector")
        return
    yield from validate_label_selector(selector, "spec.selector")
    if not selector.match_labels and not selector.match_expressions:
        yield FieldError.invalid("spec.selector", {}, "empty selector is invalid for deployment")


def _validate_owned_template(template: corev1.PodTemplateSpec, selector: metav1.LabelSelector) -> Errors:
    path = "spec.template"
    if (selector.match_labels or selector.match_expressions) and not _selects(selector, template.metadata.labels):
        yield FieldError.invalid(
            f"{path}.metadata.labels", dict(template.metadata.labels), "`selector` does not match template `labels`"
        )
    yield from validate_template(template, path, ("Always",))
    if template.spec.HasField("active_deadline_seconds"):
        yield FieldError.forbidden(
            f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported"
        )


def _selects(selector: metav1.LabelSelector, labels: Any) -> bool:
    try:
        return Selector.of(selector).matches(labels)
    except SelectorError:
        return True  # what is wrong with the selector has been said


def _validate_strategy(strategy: appsv1.DeploymentStrategy, path: str) -> Errors:
    if not strategy.type:
        yield FieldError.required(f"{path}.type")
    elif strategy.type == "Recreate" and strategy.HasField("rolling_update"):
        yield FieldError.forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif strategy.type == "RollingUpdate":
        rolling, here = strategy.rolling_update, f"{path}.rollingUpdate"
        yield from _validate_share(rolling.max_unavailable, f"{here}.maxUnavailable", most=100)
        yield from _validate_share(rolling.max_surge, f"{here}.maxSurge")
        if _is_zero(rolling.max_unavailable) and _is_zero(rolling.max_surge):
            shown = _shown_share(rolling.max_unavailable)
            yield FieldError.invalid(f"{here}.maxUnavailable", shown, "may not be 0 when `maxSurge` is 0")


def _validate_share(share: intstr_pb2.IntOrString, path: str, most: int | None = None) -> Errors:
    """A number of Pods or a percentage of them."""
    if share.type == 0:
        yield from non_negative(path, share.int_val)
        return
    wrong = names.percent(share.str_val)
    yield from check(path, share.str_val, wrong)
    if not wrong and most is not None and int(share.str_val[:-1]) > most:
        yield FieldError.invalid(path, share.str_val, f"must not be greater than {most}%")


def _is_zero(share: intstr_pb2.IntOrString) -> bool:
    return share.int_val == 0 if share.type == 0 else share.str_val.rstrip("%").strip("0") == ""


def _shown_share(share: intstr_pb2.IntOrString) -> int | str:
    return share.int_val if share.type == 0 else share.str_val


def _shown(selector: metav1.LabelSelector) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if selector.match_labels:
        shown["matchLabels"] = dict(sorted(selector.match_labels.items()))
    if selector.match_expressions:
        shown["matchExpressions"] = [
            {"key": item.key, "operator": item.operator, "values": list(item.values)}
            for item in selector.match_expressions
        ]
    return shown


def validate_deployment_status(new: appsv1.Deployment, old: appsv1.Deployment) -> Errors:
    """Check a reported status: counts that add up."""
    status = new.status
    yield from _validate_counts(
        {
            "observedGeneration": status.observed_generation,
            "replicas": status.replicas,
            "updatedReplicas": status.updated_replicas,
            "readyReplicas": status.ready_replicas,
            "availableReplicas": status.available_replicas,
            "unavailableReplicas": status.unavailable_replicas,
            "terminatingReplicas": status.terminating_replicas,
        },
        ("updatedReplicas", "readyReplicas", "availableReplicas"),
    )
    if old.status.HasField("collision_count") and status.collision_count < old.status.collision_count:
        yield FieldError.invalid("status.collisionCount", status.collision_count, "cannot be decremented")


def validate_replica_set_status(new: appsv1.ReplicaSet, _: appsv1.ReplicaSet) -> Errors:
    """Check a reported status: counts that add up."""
    status = new.status
    yield from _validate_counts(
        {
            "replicas": status.replicas,
            "fullyLabeledReplicas": status.fully_labeled_replicas,
            "readyReplicas": status.ready_replicas,
            "availableReplicas": status.available_replicas,
            "observedGeneration": status.observed_generation,
            "terminatingReplicas": status.terminating_replicas,
        },
        ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    )


def _validate_counts(counts: dict[str, int], at_most_replicas: Iterable[str]) -> Errors:
    for field, value in counts.items():
        yield from non_negative(f"status.{field}", value)
    for field in at_most_replicas:
        if counts[field] > counts["replicas"]:
            yield FieldError.invalid(f"status.{field}", counts[field], "cannot be greater than status.replicas")
    if counts["availableReplicas"] > counts["readyReplicas"]:
        yield FieldError.invalid(
            "status.availableReplicas", counts["availableReplicas"], "cannot be greater than readyReplicas"
        )
