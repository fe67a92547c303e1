"""Scalar fields: what JSON may hold for them, and how the two are turned into each other."""

from __future__ import annotations

from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from navarch.services.api.codec.errors import EncodeError


@dataclass(frozen=True, slots=True)
class Scalar:
    """One protobuf scalar type."""

    # How errors call what is accepted.
    name: str
    # The JSON of an unset member that is not a pointer.
    zero: object
    # What null stands for in a list or map.
    null: object
    # Checks a JSON value and gives the Python value; raises TypeError or ValueError.
    read: Callable[[Any], Any]
    # None where the Python value is JSON already.
    write: Callable[[Any], Any] | None = None


def _exactly(accepted: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        # Not isinstance: to Python True is an int, to JSON it is not.
        if type(value) is not accepted:
            raise TypeError
        return value

    return check


def _read_number(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(value):
        raise TypeError
    return float(value)


def _write_number(value: float) -> float:
    if not isfinite(value):
        raise EncodeError(f"{value} is not a JSON number")
    # As the official encoder has it: 3, not 3.0.
    return int(value) if value.is_integer() else value


# The official decoder ignores them, so wrapped base64 in manifests works.
_NEWLINES: Final = {ord("\n"): None, ord("\r"): None}


def _read_bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise TypeError
    try:
        return a2b_base64(value.translate(_NEWLINES), strict_mode=True)
    except Base64Error as error:
        raise ValueError(str(error)) from None


def _write_bytes(value: bytes) -> str:
    return b64encode(value).decode("ascii")


SCALARS: Final[dict[int, Scalar]] = {
    FieldDescriptor.TYPE_STRING: Scalar("string", "", "", _exactly(str)),
    FieldDescriptor.TYPE_BOOL: Scalar("boolean", False, False, _exactly(bool)),
    FieldDescriptor.TYPE_INT32: Scalar("int32", 0, 0, _exactly(int)),
    FieldDescriptor.TYPE_INT64: Scalar("int64", 0, 0, _exactly(int)),
    FieldDescriptor.TYPE_DOUBLE: Scalar("number", 0, 0.0, _read_number, _write_number),
    FieldDescriptor.TYPE_BYTES: Scalar("base64 string", None, b"", _read_bytes, _write_bytes),
}
# What a scalar's reader, and the protobuf library's own checks, may raise.
REFUSALS: Final = (TypeError, ValueError, OverflowError)
