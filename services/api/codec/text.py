"""JSON text to values: fast, or slower with an eye on duplicate members."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

import orjson

from navarch.services.api.codec.reading import Object
from navarch.services.api.errors import BadRequest


def parse_json(data: bytes | str, *, find_duplicates: bool = False) -> Any:
    """The value of a JSON text. With ``find_duplicates`` objects that repeat a member say so. Raises BadRequest."""
    try:
        value = orjson.loads(data)
        # The fast parser has vetted the text; only it says where exactly a text is wrong.
        return json.loads(data, object_pairs_hook=_object, parse_constant=_refuse) if find_duplicates else value
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"invalid JSON: {error}") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    marked = Object(plain)
    marked.duplicates = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return marked


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
