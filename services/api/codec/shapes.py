"""Messages whose JSON is not an object of their fields: quantities, times, raw JSON, unions.

A shape is a pair of functions. ``write`` gives the JSON value, ``read`` fills an empty message. They write
the members that the official encoder writes even when they are zero (the nanos of a Time, all three members
of an IntOrString), so that protobuf bytes agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from navarch.services.api.codec.errors import EncodeError
from navarch.services.api.codec.reading import Reading
from navarch.services.api.codec.times import (
    ZERO_TIME,
    format_duration,
    format_micros,
    format_seconds,
    parse_duration,
    parse_moment,
)
from navarch.services.api.quantity import Quantity, QuantityError

Write = Callable[[Any], Any]
Read = Callable[[Any, Any, Reading], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a special message is written to JSON and read from it."""

    write: Write
    read: Read


def _write_quantity(message: Any) -> Any:
    return message.string or "0"


def _read_quantity(message: Any, value: Any, reading: Reading) -> None:
    if value is None:
        return
    if type(value) not in (str, int, float):
        raise reading.error(value, "quantity")
    try:
        message.string = str(Quantity.parse(str(value).strip()))
    except QuantityError:
        raise reading.error(value, "quantity such as 100m, 1.5 or 2Gi") from None


def _write_int_or_string(message: Any) -> Any:
    return message.str_val if message.type == 1 else message.int_val


def _read_int_or_string(message: Any, value: Any, reading: Reading) -> None:
    if value is None:
        return
    try:
        if type(value) is int:
            message.type, message.int_val, message.str_val = 0, value, ""
        elif type(value) is str:
            message.type, message.int_val, message.str_val = 1, 0, value
        else:
            raise reading.error(value, "int32 or string")
    except (ValueError, UnicodeError):
        raise reading.error(value, "int32 or string") from None


def _write_time(message: Any) -> str | None:
    # An empty message is the zero time, unlike 1970, which is written out.
    if not message.seconds and not message.ByteSize():
        return None
    try:
        return format_seconds(message.seconds)
    except (OverflowError, ValueError):
        raise EncodeError(f"the time {message.seconds} s is outside of the years 1 to 9999") from None


def _write_micro_time(message: Any) -> str | None:
    if not message.seconds and not message.ByteSize():
        return None
    try:
        return format_micros(message.seconds, message.nanos)
    except (OverflowError, ValueError):
        raise EncodeError(f"the time {message.seconds} s is outside of the years 1 to 9999") from None


def _moment(value: Any, reading: Reading) -> tuple[int, int] | None:
    """(seconds, microseconds), or None for the zero time."""
    if type(value) is not str:
        raise reading.error(value, "time such as 2006-01-02T15:04:05Z")
    try:
        moment = parse_moment(value)
    except (ValueError, OverflowError):
        raise reading.error(value, "time such as 2006-01-02T15:04:05Z") from None
    return None if moment == (ZERO_TIME, 0) else moment


def _read_time(message: Any, value: Any, reading: Reading) -> None:
    moment = None if value is None else _moment(value, reading)
    if moment is not None:
        message.seconds, message.nanos = moment[0], 0


def _read_micro_time(message: Any, value: Any, reading: Reading) -> None:
    moment = None if value is None else _moment(value, reading)
    if moment is not None:
        message.seconds, message.nanos = moment[0], moment[1] * 1000


def _write_duration(message: Any) -> str:
    return format_duration(message.duration)


def _read_duration(message: Any, value: Any, reading: Reading) -> None:
    if value is None:
        return
    if type(value) is not str:
        raise reading.error(value, "duration such as 1h2m3.5s")
    try:
        message.duration = parse_duration(value)
    except ValueError:
        raise reading.error(value, "duration such as 1h2m3.5s") from None


def _write_raw(message: Any) -> Any:
    if not message.raw:
        return None
    try:
        return orjson.loads(message.raw)
    except orjson.JSONDecodeError as error:
        raise EncodeError(f"raw bytes are not JSON: {error}") from None


def _read_raw(message: Any, value: Any, reading: Reading) -> None:
    if value is None:
        return
    try:
        message.raw = orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise reading.error(f"a value that cannot be kept ({error})", "JSON") from None


def _read_raw_object(message: Any, value: Any, reading: Reading) -> None:
    if value is not None and not isinstance(value, dict):
        raise reading.error(value, "object")
    _read_raw(message, value, reading)


def _write_unknown(message: Any) -> Any:
    if message.content_type not in ("", "application/json"):
        raise EncodeError(f"an object in {message.content_type} cannot be shown as JSON")
    return _write_raw(message)


def _read_unknown(message: Any, value: Any, reading: Reading) -> None:
    _read_raw(message, value, reading)
    message.content_type = "application/json"


def _write_items(message: Any) -> list[str] | None:
    return list(message.items) or None


def _read_items(message: Any, value: Any, reading: Reading) -> None:
    _read_strings(message.items, value, reading)


def _read_strings(target: Any, value: Any, reading: Reading) -> None:
    if value is None:
        return
    if type(value) is not list:
        raise reading.error(value, "array of string")
    for index, item in enumerate(value):
        if type(item) is not str and item is not None:
            raise reading.error(item, "string", index)
    try:
        target.extend([item or "" for item in value])
    except ValueError:
        raise reading.error("text that is no Unicode", "array of string") from None


def schema_shapes(write: Write, read: Read) -> dict[str, Shape]:
    """The three unions around JSONSchemaProps, given how that message itself is written and read."""

    def read_schema(message: Any, value: Any, reading: Reading) -> None:
        message.schema.SetInParent()
        reading.descend()
        read(message.schema, value, reading)
        reading.depth -= 1

    def write_or_bool(message: Any) -> Any:
        return write(message.schema) if message.HasField("schema") else message.allows

    def read_or_bool(message: Any, value: Any, reading: Reading) -> None:
        if isinstance(value, dict):
            message.allows = True
            read_schema(message, value, reading)
        elif type(value) is bool:
            message.allows = value
        elif value is not None:
            raise reading.error(value, "object or boolean")

    def write_or_array(message: Any) -> Any:
        if message.json_schemas:
            return [write(item) for item in message.json_schemas]
        return write(message.schema) if message.HasField("schema") else None

    def read_or_array(message: Any, value: Any, reading: Reading) -> None:
        if type(value) is list:
            reading.descend()
            for index, item in enumerate(value):
                reading.path.append(index)
                read(message.json_schemas.add(), item, reading)
                reading.path.pop()
            reading.depth -= 1
        elif isinstance(value, dict):
            read_schema(message, value, reading)
        elif value is not None:
            raise reading.error(value, "object or array")

    def write_or_strings(message: Any) -> Any:
        if message.property:
            return list(message.property)
        return write(message.schema) if message.HasField("schema") else None

    def read_or_strings(message: Any, value: Any, reading: Reading) -> None:
        if type(value) is list:
            _read_strings(message.property, value, reading)
        elif isinstance(value, dict):
            read_schema(message, value, reading)
        elif value is not None:
            raise reading.error(value, "object or array of string")

    package = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
    return {
        package + "JSONSchemaPropsOrBool": Shape(write_or_bool, read_or_bool),
        package + "JSONSchemaPropsOrArray": Shape(write_or_array, read_or_array),
        package + "JSONSchemaPropsOrStringArray": Shape(write_or_strings, read_or_strings),
    }


SCHEMA: Final = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_META: Final = "k8s.io.apimachinery.pkg.apis.meta.v1."
_QUANTITY: Final = Shape(_write_quantity, _read_quantity)
_RAW: Final = Shape(_write_raw, _read_raw)
_ITEMS: Final = Shape(_write_items, _read_items)

SHAPES: Final[dict[str, Shape]] = {
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _QUANTITY,
    "k8s.io.apimachinery.pkg.api.resource.QuantityValue": _QUANTITY,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": Shape(_write_int_or_string, _read_int_or_string),
    "k8s.io.apimachinery.pkg.runtime.RawExtension": _RAW,
    "k8s.io.apimachinery.pkg.runtime.Unknown": Shape(_write_unknown, _read_unknown),
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": _RAW,
    _META + "Time": Shape(_write_time, _read_time),
    _META + "MicroTime": Shape(_write_micro_time, _read_micro_time),
    _META + "Duration": Shape(_write_duration, _read_duration),
    _META + "FieldsV1": Shape(_write_raw, _read_raw_object),
    _META + "Verbs": _ITEMS,
    "k8s.io.api.authentication.v1.ExtraValue": _ITEMS,
    "k8s.io.api.authorization.v1.ExtraValue": _ITEMS,
    "k8s.io.api.certificates.v1.ExtraValue": _ITEMS,
}
