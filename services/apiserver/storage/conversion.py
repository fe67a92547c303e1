"""Kinds that are kept in another version than they are served in.

Events of the group events.k8s.io are kept as core Events: the same fields under other names.
HorizontalPodAutoscalers are kept in the second version, which says all that the first does and more. Kinds
whose stored message is the same in both versions need nothing.
"""

from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.autoscaling import v2_pb2 as autoscalingv2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.events import v1_pb2 as eventsv1
from navarch.services.api import autoscaling, envelope
from navarch.services.api.custom import objects
from navarch.services.api.errors import InternalError
from navarch.services.api.kinds import KINDS, Kind

CORE_EVENT = KINDS.of(corev1.Event)
NEW_EVENT = KINDS.of(eventsv1.Event)
AUTOSCALER = KINDS.of(autoscalingv2.HorizontalPodAutoscaler)
OLD_AUTOSCALER = KINDS.of(autoscalingv1.HorizontalPodAutoscaler)
# Name in events.k8s.io, name in core.
EVENT_FIELDS = {
    "metadata": "metadata",
    "event_time": "event_time",
    "series": "series",
    "reporting_controller": "reporting_component",
    "reporting_instance": "reporting_instance",
    "action": "action",
    "reason": "reason",
    "regarding": "involved_object",
    "related": "related",
    "note": "message",
    "type": "type",
    "deprecated_source": "source",
    "deprecated_first_timestamp": "first_timestamp",
    "deprecated_last_timestamp": "last_timestamp",
    "deprecated_count": "count",
}


def to_stored(message: Message, kind: Kind) -> bytes:
    """The value that the store keeps for an object without a resource version."""
    if kind.is_custom:
        return objects.to_stored(message)  # type: ignore[arg-type]
    if kind is NEW_EVENT:
        return envelope.to_stored(_renamed(message, corev1.Event(), EVENT_FIELDS), CORE_EVENT)
    if isinstance(message, autoscalingv1.HorizontalPodAutoscaler):
        return envelope.to_stored(autoscaling.to_v2(message), AUTOSCALER)
    return envelope.to_stored(message, kind)


def raw_of(value: bytes, kind: Kind) -> bytes:
    """The encoded message of the kind in a value of the store. Raises ApiError for anything else."""
    if kind.is_custom:
        return objects.from_stored(value, kind).SerializeToString(deterministic=True)
    if not value.startswith(envelope.MAGIC):
        return envelope.from_stored(value, kind).SerializeToString(deterministic=True)
    api_version, name, raw = envelope.unwrap(value)
    if kind is NEW_EVENT and api_version == CORE_EVENT.api_version:
        back = {old: new for new, old in EVENT_FIELDS.items()}
        event: Message = _renamed(corev1.Event.FromString(raw), eventsv1.Event(), back)
        return event.SerializeToString(deterministic=True)
    if kind is OLD_AUTOSCALER and api_version == AUTOSCALER.api_version:
        scaler = autoscaling.to_v1(autoscalingv2.HorizontalPodAutoscaler.FromString(raw))
        return scaler.SerializeToString(deterministic=True)
    if name != kind.kind or api_version not in (kind.api_version, kind.stored_as):
        found = f"{api_version} {name}"
        raise InternalError(f"the store holds a {found} where a {kind.api_version} {kind.kind} was expected")
    return raw


def _renamed(source: Any, target: Any, names: dict[str, str]) -> Any:
    for ours, theirs in names.items():
        if not source.HasField(ours):
            continue
        value = getattr(source, ours)
        if isinstance(value, Message):
            # Messages of one layout may have different names (the two EventSeries).
            getattr(target, theirs).MergeFromString(value.SerializeToString())
        else:
            setattr(target, theirs, value)
    return target
