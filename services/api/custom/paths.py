"""Simple JSON paths (".spec.replicas", ".spec.a['b.c']"): the only ones that a definition may use."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from navarch.services.api.custom.structural import ABSENT

_STEP: Final = re.compile(r"\.([^.\[\]']+)|\[\s*'((?:[^'\\]|\\.)*)'\s*\]|\[\s*(\d+)\s*\]")


@lru_cache(maxsize=4096)
def steps(path: str) -> tuple[str | int, ...]:
    """The members that a path goes through. Raises ValueError for other paths."""
    found: list[str | int] = []
    position = 0
    text = path if path.startswith((".", "[")) else f".{path}"
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(f"not a simple JSON path: {path!r}")
        found.append(int(match[3]) if match[3] else match[1] or re.sub(r"\\(.)", r"\1", match[2]))
        position = match.end()
    return tuple(found)


def read(value: Any, path: str) -> Any:
    """The value at a path, or ABSENT."""
    for step in steps(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return value


def write(value: dict[str, Any], path: str, new: Any) -> None:
    """Put a value at a path, making the objects on the way. Raises ValueError where something else is there."""
    *way, last = steps(path)
    place: Any = value
    for step in way:
        if not isinstance(place, dict):
            raise ValueError(f"{path}: no object on the way")
        place = place.setdefault(step, {})
    if not isinstance(place, dict):
        raise ValueError(f"{path}: no object on the way")
    place[last] = new
