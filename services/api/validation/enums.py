"""Closed sets of words, checked for a whole message at once: the traits of the fields list what is allowed.

An empty word is left to whoever requires one.
"""

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from navarch.services.api.errors import FieldError
from navarch.services.api.traits import traits_of
from navarch.services.api.validation.values import Errors


def validate_enums(message: Message, path: str) -> Errors:
    """Check every enumerated field of a message and of the messages in it; the path of an object is empty."""
    for field, accepted, inline in _fields(message.DESCRIPTOR):
        value = getattr(message, field.name)
        if not field.is_repeated and field.message_type and not message.HasField(field.name):
            continue
        here = path if inline else f"{path}.{field.json_name}".lstrip(".")
        for place, item in [(f"{here}[{i}]", v) for i, v in enumerate(value)] if field.is_repeated else [(here, value)]:
            if isinstance(item, Message):
                yield from validate_enums(item, place)
            elif item and item not in accepted:
                yield FieldError.not_supported(place, item, [word for word in accepted if word])


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[FieldDescriptor, frozenset[str], bool], ...]:
    """The fields that have something to check, themselves or further down."""
    found = []
    for field in descriptor.fields:
        traits = traits_of(field)
        child = field.message_type
        if traits.enum or (child is not None and not child.GetOptions().map_entry and _has_enums(child)):
            found.append((field, frozenset(traits.enum), traits.inline))
    return tuple(found)


@cache
def _has_enums(descriptor: Descriptor) -> bool:
    seen, pending = {descriptor}, [descriptor]
    while pending:
        for field in pending.pop().fields:
            if traits_of(field).enum:
                return True
            if field.message_type is not None and field.message_type not in seen:
                seen.add(field.message_type)
                pending.append(field.message_type)
    return False
