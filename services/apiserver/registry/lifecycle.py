"""The end of an object: who still holds it, and how its deletion is written down."""

from typing import Any

from navarch.protos.k8s.apiextensions.v1_pb2 import CustomResourceDefinition
from navarch.services.api import meta
from navarch.services.api.custom.names import begin_deletion


def is_over(obj: Any) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj.metadata
    if not meta.is_being_deleted(obj) or metadata.finalizers or metadata.deletion_grace_period_seconds:
        return False
    return not is_namespace(obj) or not obj.spec.finalizers


def is_namespace(obj: Any) -> bool:
    """Whether it is a Namespace, which its contents hold through `spec.finalizers`."""
    return bool(obj.DESCRIPTOR.name == "Namespace")


def mark_deleted(obj: Any, now: float, grace_s: int) -> None:
    """Write down that the object is to go, `grace_s` seconds from now."""
    metadata = obj.metadata
    metadata.deletion_timestamp.CopyFrom(meta.time_from(now + grace_s))
    metadata.deletion_grace_period_seconds = grace_s
    if metadata.generation > 0:
        metadata.generation += 1
    if is_namespace(obj):
        obj.status.phase = "Terminating"
    elif isinstance(obj, CustomResourceDefinition):
        begin_deletion(obj, now)
