"""Closed sets of words, checked for a whole message at once: the traits of the fields list what is allowed.

An empty word is left to whoever requires one.
"""

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from navarch.services.api.errors import FieldError
from navarch.services.api.traits import traits_of
from navarch.services.api.validation.values import Errors


def validate_enums(message: Message, path: str) -> Errors:
    """Check every enumerated field of a message and of the messages in it; the path of an object is empty."""
    checks = _checks(message.DESCRIPTOR)
    for field, value in message.ListFields():
        if (found := checks.get(field.number)) is None:
            continue
        name, accepted, is_repeated = found
        here = f"{path}.{name}".strip(".")
        for place, item in enumerate(value) if is_repeated else ((None, value),):
            if accepted is None:
                yield from validate_enums(item, here if place is None else f"{here}[{place}]")
            elif item and item not in accepted:
                where = here if place is None else f"{here}[{place}]"
                yield FieldError.not_supported(where, item, [word for word in accepted if word])


@cache
def _checks(descriptor: Descriptor) -> dict[int, tuple[str, frozenset[str] | None, bool]]:
    """By number, the fields that have something to check, themselves or (no words of their own) further down.

    Of each its name in paths, "" where it is inline, the words that it accepts, and whether it is repeated.
    """
    found: dict[int, tuple[str, frozenset[str] | None, bool]] = {}
    for field in descriptor.fields:
        traits, child = traits_of(field), field.message_type
        name = "" if traits.inline else field.json_name
        if traits.enum:
            found[field.number] = name, frozenset(traits.enum), field.is_repeated
        elif child is not None and not child.GetOptions().map_entry and _has_enums(child):
            found[field.number] = name, None, field.is_repeated
    return found


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
