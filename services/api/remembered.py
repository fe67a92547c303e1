"""What was worked out for messages, kept by their bytes.

Objects are made by the dozen from one template, and are changed again and again in all but their specs. What
follows from the bytes of a spec alone need not be worked out each time.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from google.protobuf.message import Message

ENTRIES = 128
# Together with ENTRIES the bound of what a memory holds; larger messages are rare, and are not kept.
LARGE_BYTES = 8 * 1024
Value = TypeVar("Value")
# The bytes of a message, and what else the answer depends on.
Key = tuple[bytes, Hashable]


class Remembered(Generic[Value]):
    """Answers by message. Forgets all of them when it is full."""

    def __init__(self) -> None:
        self._known: dict[Key, Value] = {}

    @staticmethod
    def key(message: Message, more: Hashable = None) -> Key:
        """Tells questions apart. more: what the answer depends on besides the message."""
        return message.SerializeToString(deterministic=True), more

    def recall(self, key: Key) -> Value | None:
        """The answer that was kept."""
        return self._known.get(key)

    def keep(self, key: Key, value: Value) -> Value:
        """Keep an answer, and give it back."""
        if len(key[0]) <= LARGE_BYTES:
            if len(self._known) >= ENTRIES:
                self._known.clear()
            self._known[key] = value
        return value
