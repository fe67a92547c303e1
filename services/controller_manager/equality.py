"""Equality as Kubernetes understands it.

A message may hold an explicit zero where another holds nothing: which one depends on the client that wrote it
and means the same. The JSON form knows which zeros count.
"""

from google.protobuf.message import Message

from navarch.services.api.codec import to_json


def same(a: Message, b: Message) -> bool:
    """Whether two messages of one type mean the same."""
    return a == b or to_json(a) == to_json(b)
