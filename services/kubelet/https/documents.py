"""Messages of our own as JSON documents: members by their JSON names, numbers as numbers, times as RFC 3339."""

from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.codec.times import format_seconds


def document(message: Message) -> dict[str, Any]:
    """What is set in a message. Not for maps."""
    return {
        field.json_name: [_value(one) for one in value] if field.is_repeated else _value(value)
        for field, value in message.ListFields()
    }


def _value(value: Any) -> Any:
    if isinstance(value, metav1.Time):
        return format_seconds(value.seconds)
    return document(value) if isinstance(value, Message) else value
