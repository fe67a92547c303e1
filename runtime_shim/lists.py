"""Answers to lists, kept until something changes.

A kubelet lists all sandboxes and all containers every second, and mostly nothing has happened in between.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

A = TypeVar("A", bound=Message)
# Clients ask with a few filters over and over.
FILTERS = 16


class ListAnswers(Generic[A]):
    """The answers of one list. What is returned is shared, and not to be changed."""

    def __init__(self, make: Callable[[Any], A]) -> None:
        """make: the answer to a filter, from scratch."""
        self._make = make
        self._change = -1
        self._known: dict[bytes, A] = {}

    def get(self, wanted: Message, change: int) -> A:
        """The answer to a filter. change: the number of the last change."""
        if change != self._change or len(self._known) >= FILTERS:
            self._known.clear()
            self._change = change
        key = wanted.SerializeToString(deterministic=True)
        answer = self._known.get(key)
        if answer is None:
            answer = self._known[key] = self._make(wanted)
        return answer
