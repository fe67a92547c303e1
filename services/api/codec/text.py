"""JSON text to values: fast, or slower with an eye on duplicate members."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

import orjson

from navarch.services.api.codec.reading import Object
from navarch.services.api.errors import BadRequest

_HIDDEN_COLON = re.compile(rb"\\u003[aA]")


def parse_json(data: bytes | str, *, find_duplicates: bool = False) -> Any:
    """The value of a JSON text. With ``find_duplicates`` objects that repeat a member say so. Raises BadRequest."""
    try:
        # The fast parser vets the text; only it says where exactly a text is wrong.
        value = orjson.loads(data)
        if not find_duplicates or not _may_repeat(data, value):
            return value
        return json.loads(data, object_pairs_hook=_object, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"invalid JSON: {error}") from None


def _may_repeat(data: bytes | str, value: Any) -> bool:
    """Whether an object of a valid text may have a member twice.

    Every member has a colon, and those in strings are the same on both sides: a text from which nothing is dropped
    has as many of them as its value written anew.
    """
    text = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    try:
        return text.count(b":") != orjson.dumps(value).count(b":") or _HIDDEN_COLON.search(text) is not None
    except orjson.JSONEncodeError:
        # It reads what is nested more deeply than it writes.
        return True


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    marked = Object(plain)
    marked.duplicates = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return marked


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
