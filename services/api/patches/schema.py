"""What strategic merge needs to know about a message: the merge rule of each JSON key.

Rules come from the field traits in the descriptors. A key the message does not know has no rule; its
value is merged like plain JSON, and the strict decoding that follows a patch refuses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from navarch.protos.k8s import traits_pb2
from navarch.services.api.traits import traits_of


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How a patch value meets the value it patches."""

    schema: Descriptor | None = None
    """Message of the value, or of each item of a list."""
    merge: bool = False
    """A list is merged item by item instead of replaced."""
    replace: bool = False
    """An object is replaced as a whole instead of merged."""
    retain_keys: bool = False
    """A change names all keys that stay, so that members of a union displace each other."""
    merge_key: str = ""
    """JSON key that identifies an item of a merged list; empty for lists of scalars."""


PLAIN = MergeRule()


def rule_for(schema: Descriptor | None, key: str) -> MergeRule:
    """Rule of a JSON key in an object described by `schema`."""
    return PLAIN if schema is None else _rules(schema).get(key, PLAIN)


@cache
def _rules(schema: Descriptor) -> Mapping[str, MergeRule]:
    rules: dict[str, MergeRule] = {}
    for field in schema.fields:
        traits = traits_of(field)
        if traits.inline and field.message_type is not None:
            rules.update(_rules(field.message_type))
        else:
            rules[field.json_name] = _rule(field, traits)
    return rules


def _rule(field: FieldDescriptor, traits: traits_pb2.FieldTraits) -> MergeRule:
    message = field.message_type
    return MergeRule(
        schema=None if message is None or message.GetOptions().map_entry else message,
        merge="merge" in traits.patch_strategy,
        replace="replace" in traits.patch_strategy,
        retain_keys="retainKeys" in traits.patch_strategy,
        merge_key=traits.patch_merge_key,
    )
