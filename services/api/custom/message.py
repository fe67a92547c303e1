"""The message class of one custom kind: all kinds share a message, so the class says which kind is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.protos.navarch.objects_pb2 import CustomObject

if TYPE_CHECKING:
    from navarch.services.api.kind import Kind


class CustomClass:
    """Stands where message classes do: makes, parses and names `CustomObject`s of a kind."""

    DESCRIPTOR = CustomObject.DESCRIPTOR

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def __call__(self, **members: Any) -> CustomObject:
        """A new message."""
        return CustomObject(api_version=self.kind.api_version, kind=self.kind.kind, **members)

    def FromString(self, data: bytes) -> CustomObject:
        """The message of some bytes."""
        return CustomObject.FromString(data)
