"""Defaults of PriorityClasses and RuntimeClasses."""

from navarch.protos.k8s.node import v1_pb2 as nodev1
from navarch.protos.k8s.scheduling import v1_pb2 as schedulingv1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.resources import canonical


def default_priority_class(priority_class: schedulingv1.PriorityClass) -> None:
    """Complete a PriorityClass."""
    fill(priority_class, preemption_policy="PreemptLowerPriority")


def default_runtime_class(runtime_class: nodev1.RuntimeClass) -> None:
    """Complete a RuntimeClass."""
    if runtime_class.HasField("overhead"):
        canonical(runtime_class.overhead.pod_fixed)
