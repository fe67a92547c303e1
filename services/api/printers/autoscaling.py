"""HorizontalPodAutoscalers and PodDisruptionBudgets: how many Pods there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.services.api.printers.table import NONE, UNKNOWN, UNSET, Cell, Table, age_of, columns

if TYPE_CHECKING:
    from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
    from navarch.protos.k8s.autoscaling import v2_pb2 as autoscalingv2
    from navarch.protos.k8s.policy import v1_pb2 as policyv1

_SHOWN = 2
# The member that holds a metric's source, by its type.
_SOURCES = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "container_resource",
}


def _autoscaler(scaler: autoscalingv2.HorizontalPodAutoscaler, now: float) -> tuple[Cell, ...]:
    statuses = list(scaler.status.current_metrics)
    metrics = [
        _metric(spec, statuses[index] if index < len(statuses) else None)
        for index, spec in enumerate(scaler.spec.metrics)
    ]
    text = ", ".join(metrics[:_SHOWN]) or NONE
    if len(metrics) > _SHOWN:
        text += f" + {len(metrics) - _SHOWN} more..."
    return _scaler_row(scaler, text, now)


def _autoscaler_v1(scaler: autoscalingv1.HorizontalPodAutoscaler, now: float) -> tuple[Cell, ...]:
    text = NONE
    if scaler.spec.HasField("target_cpu_utilization_percentage"):
        status = scaler.status
        is_known = status.HasField("current_cpu_utilization_percentage")
        current = f"{status.current_cpu_utilization_percentage}%" if is_known else UNKNOWN
        text = f"cpu: {current}/{scaler.spec.target_cpu_utilization_percentage}%"
    return _scaler_row(scaler, text, now)


def _scaler_row(scaler: Any, metrics: str, now: float) -> tuple[Cell, ...]:
    spec = scaler.spec
    return (
        scaler.metadata.name,
        f"{spec.scale_target_ref.kind}/{spec.scale_target_ref.name}",
        metrics,
        str(spec.min_replicas) if spec.HasField("min_replicas") else UNSET,
        spec.max_replicas,
        scaler.status.current_replicas,
        age_of(scaler, now),
    )


def _metric(spec: autoscalingv2.MetricSpec, status: autoscalingv2.MetricStatus | None) -> str:
    """Present and wanted value of a metric."""
    member = _SOURCES.get(spec.type)
    if member is None:
        return "<unknown type>"
    target = getattr(spec, member).target
    current = getattr(status, member).current if status is not None and status.HasField(member) else None
    if member in ("resource", "container_resource"):
        return f"{getattr(spec, member).name}: {_usage(target, current)}"
    if member == "pods" or target.HasField("average_value"):
        average = _amount(current, "average_value", lenient=member == "pods")
        return f"{average}/{_amount(target, 'average_value')}" + ("" if member == "pods" else " (avg)")
    return f"{_amount(current, 'value', lenient=True)}/{_amount(target, 'value')}"


def _usage(target: autoscalingv2.MetricTarget, current: autoscalingv2.MetricValueStatus | None) -> str:
    if target.HasField("average_value"):
        return f"{_amount(current, 'average_value', lenient=True)}/{target.average_value.string}"
    is_known = current is not None and current.HasField("average_utilization")
    now = f"{current.average_utilization}%" if current is not None and is_known else UNKNOWN
    return f"{now}/" + (f"{target.average_utilization}%" if target.HasField("average_utilization") else "<auto>")


def _amount(holder: Any, member: str, *, lenient: bool = False) -> str:
    """A quantity; one that is not set is unknown, or (lenient) nothing."""
    if holder is None:
        return UNKNOWN
    if not holder.HasField(member):
        return "0" if lenient else UNKNOWN
    return str(getattr(holder, member).string)


def _budget(budget: policyv1.PodDisruptionBudget, now: float) -> tuple[Cell, ...]:
    spec = budget.spec
    return (
        budget.metadata.name,
        _number_or_share(spec.min_available) if spec.HasField("min_available") else "N/A",
        _number_or_share(spec.max_unavailable) if spec.HasField("max_unavailable") else "N/A",
        budget.status.disruptions_allowed,
        age_of(budget, now),
    )


def _number_or_share(value: Any) -> str:
    return str(value.str_val) if value.type else str(value.int_val)


_SCALER_COLUMNS = columns("Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age")
AUTOSCALER = Table(_SCALER_COLUMNS, _autoscaler)
AUTOSCALER_V1 = Table(_SCALER_COLUMNS, _autoscaler_v1)
DISRUPTION_BUDGET = Table(
    columns("Min Available", "Max Unavailable", "Allowed Disruptions", "Age", integers=("Allowed Disruptions",)),
    _budget,
)
