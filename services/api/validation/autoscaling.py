"""Rules for HorizontalPodAutoscalers, in the version in which they are stored."""

from collections.abc import Sequence

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.autoscaling import v2_pb2 as autoscalingv2
from navarch.services.api.errors import FieldError
from navarch.services.api.quantity import Quantity
from navarch.services.api.validation import names
from navarch.services.api.validation.resources import parsed, validate_quantity
from navarch.services.api.validation.values import Errors, non_negative, required, required_segment, supported

Scaler = autoscalingv2.HorizontalPodAutoscaler

_PERIOD_MAX_S = 1800
_WINDOW_MAX_S = 3600
# The members of a metric by type, in the order in which they are looked at.
_SOURCES = {
    "Object": ("object", "object"),
    "External": ("external", "external"),
    "Pods": ("pods", "pods"),
    "Resource": ("resource", "resource"),
    "ContainerResource": ("container_resource", "containerResource"),
}


def validate_autoscaler(scaler: Scaler) -> Errors:
    """Check a new HorizontalPodAutoscaler (its metadata aside)."""
    yield from _validate_spec(scaler.spec, 1)


def validate_autoscaler_update(new: Scaler, old: Scaler) -> Errors:
    """Check a changed HorizontalPodAutoscaler."""
    yield from _validate_spec(new.spec, 0 if old.spec.HasField("min_replicas") and not old.spec.min_replicas else 1)


def validate_autoscaler_status(new: Scaler, _: Scaler) -> Errors:
    """Check a reported status."""
    yield from non_negative("status.currentReplicas", new.status.current_replicas)
    yield from non_negative("status.desiredReplicas", new.status.desired_replicas)


def _validate_spec(spec: autoscalingv2.HorizontalPodAutoscalerSpec, least: int) -> Errors:
    here = "spec.maxReplicas"
    if spec.HasField("min_replicas") and spec.min_replicas < least:
        yield FieldError.invalid("spec.minReplicas", spec.min_replicas, f"must be greater than or equal to {least}")
    if spec.max_replicas < 1:
        yield FieldError.invalid(here, spec.max_replicas, "must be greater than 0")
    if spec.HasField("min_replicas") and spec.max_replicas < spec.min_replicas:
        yield FieldError.invalid(here, spec.max_replicas, "must be greater than or equal to `minReplicas`")
    yield from _validate_reference(spec.scale_target_ref, "spec.scaleTargetRef")
    for index, metric in enumerate(spec.metrics):
        yield from _validate_metric(metric, f"spec.metrics[{index}]")
    to_zero = spec.HasField("min_replicas") and spec.min_replicas == 0
    if to_zero and not any(metric.type in ("Object", "External") for metric in spec.metrics):
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield FieldError.forbidden("spec.metrics", text)
    for name, field in (("scale_up", "scaleUp"), ("scale_down", "scaleDown")):
        if spec.behavior.HasField(name):
            yield from _validate_rules(getattr(spec.behavior, name), f"spec.behavior.{field}")


def _validate_reference(reference: autoscalingv2.CrossVersionObjectReference, path: str) -> Errors:
    yield from required_segment(f"{path}.kind", reference.kind)
    yield from required_segment(f"{path}.name", reference.name)


def _validate_rules(rules: autoscalingv2.HPAScalingRules, path: str) -> Errors:
    here, window = f"{path}.stabilizationWindowSeconds", rules.stabilization_window_seconds
    if window < 0:
        yield FieldError.invalid(here, window, "must be greater than or equal to zero")
    if window > _WINDOW_MAX_S:
        yield FieldError.invalid(here, window, f"must be less than or equal to {_WINDOW_MAX_S}")
    if rules.HasField("select_policy"):
        yield from supported(f"{path}.selectPolicy", rules.select_policy, ("Disabled", "Max", "Min"))
    if not rules.policies:
        yield FieldError.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.policies):
        yield from _validate_policy(policy, f"{path}.policies[{index}]")
    if rules.HasField("tolerance"):
        yield from validate_quantity(rules.tolerance, f"{path}.tolerance")


def _validate_policy(policy: autoscalingv2.HPAScalingPolicy, path: str) -> Errors:
    yield from supported(f"{path}.type", policy.type, ("Percent", "Pods"))
    if policy.value <= 0:
        yield FieldError.invalid(f"{path}.value", policy.value, "must be greater than zero")
    here, period = f"{path}.periodSeconds", policy.period_seconds
    if period <= 0:
        yield FieldError.invalid(here, period, "must be greater than zero")
    if period > _PERIOD_MAX_S:
        yield FieldError.invalid(here, period, f"must be less than or equal to {_PERIOD_MAX_S}")


def _validate_metric(metric: autoscalingv2.MetricSpec, path: str) -> Errors:
    if not metric.type:
        yield FieldError.required(f"{path}.type", "must specify a metric source type")
    yield from supported(f"{path}.type", metric.type, sorted(_SOURCES))
    present = [type for type, (name, _) in _SOURCES.items() if metric.HasField(name)]
    for type in present[:1]:
        name, field = _SOURCES[type]
        yield from _validate_source(type, getattr(metric, name), f"{path}.{field}")
    if metric.type in _SOURCES and metric.type not in present:
        text = "must populate information for the given metric source"
        yield FieldError.required(f"{path}.{_SOURCES[metric.type][1]}", text)
    if len(present) > 1:
        for type in present:
            if type != metric.type:
                text = "must populate the given metric source only"
                yield FieldError.forbidden(f"{path}.{_SOURCES[type][1]}", text)


def _validate_source(type: str, source: object, path: str) -> Errors:
    match source:
        case autoscalingv2.ObjectMetricSource():
            yield from _validate_reference(source.described_object, f"{path}.describedObject")
            yield from _validate_identifier(source.metric, path)
            yield from _validate_target(source.target, f"{path}.target")
            text = "must set either a target value or averageValue"
            yield from _one_of(source.target, ("value", "average_value"), f"{path}.target.averageValue", text)
        case autoscalingv2.ExternalMetricSource():
            yield from _validate_identifier(source.metric, path)
            yield from _validate_target(source.target, f"{path}.target")
            text = "must set either a target value for metric or a per-pod target"
            yield from _one_of(source.target, ("value", "average_value"), f"{path}.target.averageValue", text)
            if source.target.HasField("value") and source.target.HasField("average_value"):
                text = "may not set both a target value for metric and a per-pod target"
                yield FieldError.forbidden(f"{path}.target.value", text)
        case autoscalingv2.PodsMetricSource():
            yield from _validate_identifier(source.metric, path)
            yield from _validate_target(source.target, f"{path}.target")
            text = "must specify a positive target averageValue"
            yield from _one_of(source.target, ("average_value",), f"{path}.target.averageValue", text)
        case autoscalingv2.ResourceMetricSource() | autoscalingv2.ContainerResourceMetricSource():
            yield from _validate_resource(source, path)


def _validate_resource(
    source: autoscalingv2.ResourceMetricSource | autoscalingv2.ContainerResourceMetricSource, path: str
) -> Errors:
    if not source.name:
        yield FieldError.required(f"{path}.name", "must specify a resource name")
    if isinstance(source, autoscalingv2.ContainerResourceMetricSource):
        if not source.container:
            yield FieldError.required(f"{path}.container", "must specify a container")
        else:
            yield from required(f"{path}.container", source.container, names.dns_label)
    here = f"{path}.target"
    yield from _validate_target(source.target, here)
    text = "must set either a target raw value or a target utilization"
    yield from _one_of(source.target, ("average_utilization", "average_value"), f"{here}.averageUtilization", text)
    if source.target.HasField("average_utilization") and source.target.HasField("average_value"):
        text = "may not set both a target raw value and a target utilization"
        yield FieldError.forbidden(f"{here}.averageValue", text)


def _one_of(target: autoscalingv2.MetricTarget, members: Sequence[str], path: str, text: str) -> Errors:
    if not any(target.HasField(name) for name in members):
        yield FieldError.required(path, text)


def _validate_identifier(metric: autoscalingv2.MetricIdentifier, path: str) -> Errors:
    here = f"{path}.metric.name"
    if not metric.name:
        yield FieldError.required(here, "must specify a metric name")
    else:
        yield from required_segment(here, metric.name)


def _validate_target(target: autoscalingv2.MetricTarget, path: str) -> Errors:
    if not target.type:
        yield FieldError.required(f"{path}.type", "must specify a metric target type")
    if target.type not in ("Utilization", "Value", "AverageValue"):
        yield FieldError.invalid(f"{path}.type", target.type, "must be either Utilization, Value, or AverageValue")
    if target.HasField("value"):
        yield from _validate_positive(target.value, f"{path}.value")
    if target.HasField("average_value"):
        yield from _validate_positive(target.average_value, f"{path}.averageValue")
    if target.HasField("average_utilization") and target.average_utilization < 1:
        yield FieldError.invalid(f"{path}.averageUtilization", target.average_utilization, "must be greater than 0")


def _validate_positive(quantity: quantity_pb2.Quantity, path: str) -> Errors:
    amount = parsed(quantity)
    if amount is None:
        yield from validate_quantity(quantity, path)
    elif not amount > Quantity(0):
        yield FieldError.invalid(path, str(amount), "must be positive")
