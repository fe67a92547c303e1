"""The scale subresource: the same small object for everything that has replicas."""

from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api.custom.scale import read_scale, write_scale
from navarch.services.api.errors import FieldError
from navarch.services.api.kinds import Kind
from navarch.services.api.labels import Selector
from navarch.services.api.meta import metadata_of


def get_scale(obj: Message, kind: Kind | None = None) -> autoscalingv1.Scale:
    """Return the Scale of a Deployment, ReplicaSet, StatefulSet, ReplicationController, or of a custom kind."""
    workload: Any = obj
    metadata, scale = metadata_of(obj), autoscalingv1.Scale()
    for name in ("name", "namespace", "uid", "resource_version"):
        setattr(scale.metadata, name, getattr(metadata, name))
    scale.metadata.creation_timestamp.CopyFrom(metadata.creation_timestamp)
    if kind is not None and kind.is_custom:
        read_scale(obj, kind.custom.scale, scale)
        return scale
    scale.spec.replicas = workload.spec.replicas
    scale.status.replicas = workload.status.replicas
    scale.status.selector = _selector(workload.spec)
    return scale


def set_scale(obj: Message, scale: autoscalingv1.Scale, kind: Kind | None = None) -> None:
    """Take the number of replicas from a Scale; everything else of it is for reading only."""
    workload: Any = obj
    if kind is not None and kind.is_custom:
        write_scale(obj, kind.custom.scale, scale.spec.replicas)
        return
    workload.spec.replicas = scale.spec.replicas


def validate_scale(scale: autoscalingv1.Scale) -> list[FieldError]:
    """Check a Scale before it is used."""
    if scale.spec.replicas < 0:
        return [FieldError.invalid("spec.replicas", scale.spec.replicas, "must be greater than or equal to 0")]
    return []


def _selector(spec: Any) -> str:
    # A ReplicationController has plain labels for a selector.
    plain = not hasattr(spec.selector, "match_labels")
    return str(Selector.from_labels(spec.selector) if plain else Selector.of(spec.selector))
