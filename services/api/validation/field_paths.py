"""Paths to fields of a custom resource ( .spec.color, .spec.sizes['big'] ), followed along its schema."""

import re
from typing import Any

Schema = dict[str, Any]

_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|[.\[\]]|[^.\[\]']+|'")


class FieldPathError(ValueError):
    """What is wrong with a path."""


def follow(path: str, schema: Schema, *, brackets: bool = True) -> tuple[list[str], Schema]:
    """The names on a path and the schema at its end. Raises FieldPathError."""
    steps: list[str] = []
    tokens = iter(_TOKEN.findall(path))
    for token in tokens:
        if token == ".":
            name = _next(tokens)
        elif token == "[":
            if not brackets:
                raise FieldPathError("array notation is not allowed")
            name = _next(tokens)
            if len(name) < 2 or name[0] != "'" or name[-1] != "'":
                raise FieldPathError(f"expected single quoted string but got {name}")
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
        else:
            raise FieldPathError(f"expected [ or . but got: {token}")
        schema = _member(schema, name)
        steps.append(name)
        if token == "[" and (end := _next(tokens)) != "]":
            raise FieldPathError(f"expected ] but got {end}")
    return steps, schema


def _next(tokens: Any) -> str:
    token: str | None = next(tokens, None)
    if token is None:
        raise FieldPathError("unexpected end of JSON path")
    return token


def _member(schema: Schema, name: str) -> Schema:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    found = properties.get(name) if properties else additional
    if not isinstance(found, dict):
        raise FieldPathError("does not refer to a valid field")
    return found
