"""Fill unset scalar fields of a message.

What "unset" means stands in the field's traits: a pointer field is unset when absent, any other when it
holds its zero value.
"""

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from navarch.services.api.traits import traits_of


def fill(message: Message, **defaults: str | int | bool) -> None:
    """Set each named field to its default unless it already has a value."""
    pointers = _pointers(message.DESCRIPTOR)
    for name, value in defaults.items():
        if not (message.HasField(name) if name in pointers else getattr(message, name)):
            setattr(message, name, value)


@cache
def _pointers(descriptor: Descriptor) -> frozenset[str]:
    return frozenset(field.name for field in descriptor.fields if traits_of(field).pointer)
