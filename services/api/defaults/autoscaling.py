"""Defaults of HorizontalPodAutoscalers."""

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.autoscaling import v2_pb2 as autoscalingv2
from navarch.services.api.defaults.fill import fill

CPU_UTILIZATION = 80
_PERIOD_S = 15
_UP = (("Pods", 4), ("Percent", 100))
_DOWN = (("Percent", 100),)


def default_autoscaler_v1(scaler: autoscalingv1.HorizontalPodAutoscaler) -> None:
    """Complete a HorizontalPodAutoscaler of autoscaling/v1. Its metric is completed on the way to storage."""
    fill(scaler.spec, min_replicas=1)


def default_autoscaler(scaler: autoscalingv2.HorizontalPodAutoscaler) -> None:
    """Complete a HorizontalPodAutoscaler: it follows the use of CPU, unless told something else."""
    spec = scaler.spec
    fill(spec, min_replicas=1)
    if not spec.metrics:
        add_cpu_metric(spec, CPU_UTILIZATION)
    if spec.HasField("behavior"):
        fill(spec.behavior.scale_up, stabilization_window_seconds=0)
        _default_rules(spec.behavior.scale_up, _UP)
        _default_rules(spec.behavior.scale_down, _DOWN)


def add_cpu_metric(spec: autoscalingv2.HorizontalPodAutoscalerSpec, percent: int) -> None:
    """Let an autoscaler follow the use of CPU, in percent of what the Pods request."""
    metric = spec.metrics.add(type="Resource").resource
    metric.name = "cpu"
    metric.target.type, metric.target.average_utilization = "Utilization", percent


def _default_rules(rules: autoscalingv2.HPAScalingRules, policies: tuple[tuple[str, int], ...]) -> None:
    fill(rules, select_policy="Max")
    if not rules.policies:
        for type, value in policies:
            rules.policies.add(type=type, value=value, period_seconds=_PERIOD_S)
