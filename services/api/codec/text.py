"""JSON text to values: fast, or slower with an eye on duplicate members."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import orjson

from navarch.services.api.codec.reading import Object
from navarch.services.api.errors import BadRequest

# A string and, where it is the name of a member, the colon after it. In valid JSON quotes occur nowhere else.
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*+"(\s*:)?', re.DOTALL)


def parse_json(data: bytes | str, *, find_duplicates: bool = False) -> Any:
    """The value of a JSON text. With ``find_duplicates`` objects that repeat a member say so. Raises BadRequest."""
    try:
        # The fast parser vets the text; only it says where exactly a text is wrong.
        value = orjson.loads(data)
        if not find_duplicates or _written_keys(data) == _kept_keys(value):
            return value
        return json.loads(data, object_pairs_hook=_object, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"invalid JSON: {error}") from None


def _written_keys(data: bytes | str) -> int:
    """How many members the objects of a valid text have, those that occur twice counted twice."""
    ends = _STRING.findall(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    return len(ends) - ends.count(b"")


def _kept_keys(value: Any) -> int:
    """How many members the objects of a value have."""
    count = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            count += len(one)
            waiting += one.values()
        elif type(one) is list:
            waiting += one
    return count


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    marked = Object(plain)
    marked.duplicates = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return marked


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
