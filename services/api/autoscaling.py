"""The two versions of HorizontalPodAutoscaler, one in terms of the other.

The first knows one metric only, the use of CPU. What else the second says travels in annotations of the first,
so that nothing is lost between readers and writers of either; they are never stored.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from google.protobuf.message import Message

from navarch.protos.k8s.autoscaling import v1_pb2 as v1
from navarch.protos.k8s.autoscaling import v2_pb2 as v2
from navarch.services.api.codec import from_json, to_json
from navarch.services.api.defaults.autoscaling import CPU_UTILIZATION, add_cpu_metric
from navarch.services.api.errors import ApiError

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
ANNOTATIONS = (METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR)

_CPU = "cpu"


def to_v1(scaler: v2.HorizontalPodAutoscaler) -> v1.HorizontalPodAutoscaler:
    """The autoscaler as readers of autoscaling/v1 see it."""
    out = v1.HorizontalPodAutoscaler()
    _copy_common(scaler, out)
    spec, status, others = scaler.spec, scaler.status, []
    for metric in spec.metrics:
        if not _is_cpu_use(metric):
            others.append(_source_to_v1(metric))
        elif not out.spec.HasField("target_cpu_utilization_percentage"):
            out.spec.target_cpu_utilization_percentage = metric.resource.target.average_utilization
    for current in status.current_metrics:
        if current.resource.name == _CPU and current.resource.current.HasField("average_utilization"):
            out.status.current_cpu_utilization_percentage = current.resource.current.average_utilization
    _annotate(out, METRICS, map(to_json, others))
    _annotate(out, CURRENT_METRICS, (to_json(_status_to_v1(current)) for current in status.current_metrics))
    _annotate(out, CONDITIONS, map(to_json, status.conditions))
    if spec.HasField("behavior"):
        out.metadata.annotations[BEHAVIOR] = orjson.dumps(_respelled(to_json(spec.behavior), str.upper)).decode()
    return out


def to_v2(scaler: v1.HorizontalPodAutoscaler) -> v2.HorizontalPodAutoscaler:
    """The autoscaler as it is stored. Annotations that cannot be read count as not there."""
    out = v2.HorizontalPodAutoscaler()
    _copy_common(scaler, out)
    spec, status, said = scaler.spec, scaler.status, scaler.metadata.annotations
    out.spec.metrics.extend(_source_to_v2(metric) for metric in _read(said, METRICS, v1.MetricSpec))
    if spec.HasField("target_cpu_utilization_percentage"):
        add_cpu_metric(out.spec, spec.target_cpu_utilization_percentage)
    if not out.spec.metrics:
        add_cpu_metric(out.spec, CPU_UTILIZATION)
    out.status.current_metrics.extend(_status_to_v2(item) for item in _read(said, CURRENT_METRICS, v1.MetricStatus))
    if not out.status.current_metrics and status.HasField("current_cpu_utilization_percentage"):
        current = out.status.current_metrics.add(type="Resource").resource
        current.name = _CPU
        current.current.average_utilization = status.current_cpu_utilization_percentage
    out.status.conditions.extend(_read(said, CONDITIONS, v2.HorizontalPodAutoscalerCondition))
    for behavior in _read(said, BEHAVIOR, v2.HorizontalPodAutoscalerBehavior):
        out.spec.behavior.CopyFrom(behavior)
    return out


def _copy_common(source: Any, target: Any) -> None:
    """Copy what both versions have under one name."""
    target.metadata.CopyFrom(source.metadata)
    for name in ANNOTATIONS:
        target.metadata.annotations.pop(name, None)
    _copy(source.spec.scale_target_ref, target.spec.scale_target_ref)
    for part, names in (
        ("spec", ("min_replicas", "max_replicas")),
        ("status", ("observed_generation", "current_replicas", "desired_replicas")),
    ):
        for name in names:
            if getattr(source, part).HasField(name):
                setattr(getattr(target, part), name, getattr(getattr(source, part), name))
    if source.status.HasField("last_scale_time"):
        target.status.last_scale_time.CopyFrom(source.status.last_scale_time)


def _copy(source: Any, target: Any) -> None:
    """Copy a message into one of the same layout."""
    target.MergeFromString(source.SerializeToString())


def _is_cpu_use(metric: v2.MetricSpec) -> bool:
    resource = metric.resource
    return metric.type == "Resource" and resource.name == _CPU and resource.target.HasField("average_utilization")


def _annotate(scaler: v1.HorizontalPodAutoscaler, name: str, values: Iterable[dict[str, Any]]) -> None:
    if listed := list(values):
        scaler.metadata.annotations[name] = orjson.dumps(listed).decode()


def _respelled(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with another first letter of its keys: the annotation has the names of the Go fields."""
    match value:
        case dict():
            return {change(key[:1]) + key[1:]: _respelled(member, change) for key, member in value.items()}
        case list():
            return [_respelled(member, change) for member in value]
    return value


def _read(annotations: Any, name: str, type: type[Message]) -> Iterator[Any]:
    """The messages in an annotation; none where it is malformed."""
    try:
        value = orjson.loads(annotations.get(name, "[]"))
        if name == BEHAVIOR and value:
            value = [_respelled(value, str.lower)]
        messages = [from_json(item, type) for item in value] if isinstance(value, list) else []
    except (ApiError, orjson.JSONDecodeError, RecursionError):
        return
    yield from messages


# In the first version the members of a metric carry their kind in their names.


def _source_to_v1(metric: v2.MetricSpec) -> v1.MetricSpec:
    out = v1.MetricSpec(type=metric.type)
    if metric.HasField("object"):
        _flatten(
            metric.object, out.object, "metric_name", "selector", value="target_value", average_value="average_value"
        )
        _copy(metric.object.described_object, out.object.target)
    if metric.HasField("pods"):
        _flatten(metric.pods, out.pods, "metric_name", "selector", average_value="target_average_value")
    if metric.HasField("external"):
        names = {"value": "target_value", "average_value": "target_average_value"}
        _flatten(metric.external, out.external, "metric_name", "metric_selector", **names)
    for name in ("resource", "container_resource"):
        if metric.HasField(name):
            source, target = getattr(metric, name), getattr(out, name)
            target.name = source.name
            _copy_values(source.target, target, average_value="target_average_value")
            if source.target.HasField("average_utilization"):
                target.target_average_utilization = source.target.average_utilization
    if metric.HasField("container_resource"):
        out.container_resource.container = metric.container_resource.container
    return out


def _status_to_v1(current: v2.MetricStatus) -> v1.MetricStatus:
    out = v1.MetricStatus(type=current.type)
    if current.HasField("object"):
        names = {"value": "current_value", "average_value": "average_value"}
        _flatten(current.object, out.object, "metric_name", "selector", "current", **names)
        _copy(current.object.described_object, out.object.target)
    if current.HasField("pods"):
        _flatten(current.pods, out.pods, "metric_name", "selector", "current", average_value="current_average_value")
    if current.HasField("external"):
        names = {"value": "current_value", "average_value": "current_average_value"}
        _flatten(current.external, out.external, "metric_name", "metric_selector", "current", **names)
    for name in ("resource", "container_resource"):
        if current.HasField(name):
            source, target = getattr(current, name), getattr(out, name)
            target.name = source.name
            target.current_average_value.SetInParent()
            _copy_values(source.current, target, average_value="current_average_value")
            if source.current.HasField("average_utilization"):
                target.current_average_utilization = source.current.average_utilization
    if current.HasField("container_resource"):
        out.container_resource.container = current.container_resource.container
    return out


def _flatten(source: Any, target: Any, name: str, selector: str, values: str = "target", **names: str) -> None:
    setattr(target, name, source.metric.name)
    if source.metric.HasField("selector"):
        getattr(target, selector).CopyFrom(source.metric.selector)
    _copy_values(getattr(source, values), target, **names)


def _copy_values(source: Any, target: Any, **names: str) -> None:
    for theirs, ours in names.items():
        if source.HasField(theirs):
            getattr(target, ours).CopyFrom(getattr(source, theirs))


def _source_to_v2(metric: v1.MetricSpec) -> v2.MetricSpec:
    out = v2.MetricSpec(type=metric.type)
    if metric.HasField("object"):
        names = {"target_value": "value", "average_value": "average_value"}
        _unflatten(metric.object, out.object, "metric_name", "selector", "target", **names)
        _copy(metric.object.target, out.object.described_object)
        out.object.target.type = "AverageValue" if metric.object.HasField("average_value") else "Value"
    if metric.HasField("pods"):
        _unflatten(metric.pods, out.pods, "metric_name", "selector", "target", target_average_value="average_value")
        out.pods.target.type = "AverageValue"
    if metric.HasField("external"):
        names = {"target_value": "value", "target_average_value": "average_value"}
        _unflatten(metric.external, out.external, "metric_name", "metric_selector", "target", **names)
        out.external.target.type = "Value" if metric.external.HasField("target_value") else "AverageValue"
    for name in ("resource", "container_resource"):
        if metric.HasField(name):
            source, target = getattr(metric, name), getattr(out, name)
            target.name = source.name
            is_share = source.HasField("target_average_utilization")
            target.target.type = "Utilization" if is_share else "AverageValue"
            _copy_values(source, target.target, target_average_value="average_value")
            if is_share:
                target.target.average_utilization = source.target_average_utilization
    if metric.HasField("container_resource"):
        out.container_resource.container = metric.container_resource.container
    return out


def _status_to_v2(current: v1.MetricStatus) -> v2.MetricStatus:
    out = v2.MetricStatus(type=current.type)
    if current.HasField("object"):
        names = {"current_value": "value", "average_value": "average_value"}
        _unflatten(current.object, out.object, "metric_name", "selector", "current", **names)
        _copy(current.object.target, out.object.described_object)
    if current.HasField("pods"):
        names = {"current_average_value": "average_value"}
        _unflatten(current.pods, out.pods, "metric_name", "selector", "current", **names)
    if current.HasField("external"):
        names = {"current_value": "value", "current_average_value": "average_value"}
        _unflatten(current.external, out.external, "metric_name", "metric_selector", "current", **names)
    for name in ("resource", "container_resource"):
        if current.HasField(name):
            source, target = getattr(current, name), getattr(out, name)
            target.name = source.name
            _copy_values(source, target.current, current_average_value="average_value")
            if source.HasField("current_average_utilization"):
                target.current.average_utilization = source.current_average_utilization
    if current.HasField("container_resource"):
        out.container_resource.container = current.container_resource.container
    return out


def _unflatten(source: Any, target: Any, name: str, selector: str, values: str, **names: str) -> None:
    target.metric.name = getattr(source, name)
    if source.HasField(selector):
        target.metric.selector.CopyFrom(getattr(source, selector))
    _copy_values(source, getattr(target, values), **names)
