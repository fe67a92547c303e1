"""Values that a JSONPath finds in a JSON document, as Kubernetes writes paths: `.spec.ports[*].port`.

A leading `$` or `@` and braces around are optional; dots within a member's name are escaped (`app\\.kubernetes\\.io`).
Plain member paths, which nearly all are, need nothing but dictionaries; any other is read by jsonpath-ng.
Source: Kubernetes, JSONPath Support.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Find = Callable[[Any], list[Any]]

_PLAIN = re.compile(r"(?:\.(?:[A-Za-z_][\w/-]*|\\\.)+)+", re.ASCII)
_MEMBER = re.compile(r"\.((?:[\w/-]|\\\.)+)", re.ASCII)
# A member with escaped dots: .metadata.labels.app\.kubernetes\.io/name
_ESCAPED_MEMBER = re.compile(r"\.((?:[\w/-]|\\\.)*\\\.(?:[\w/-]|\\\.)*)")


class PathError(ValueError):
    """The text is no path. The message says why."""


def find(path: str, document: Any) -> list[Any]:
    """What a path finds, in order; nothing where something on the way is missing. Raises PathError."""
    return compiled(path)(document)


@lru_cache(maxsize=4096)
def compiled(path: str) -> Find:
    """A path, read once. Raises PathError."""
    bare = path.strip()
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1].strip()
    bare = bare.lstrip("$@")
    if bare in ("", "."):
        return lambda document: [document]
    if bare[0] not in ".[":
        bare = f".{bare}"
    if _PLAIN.fullmatch(bare):
        return _plain(tuple(name.replace("\\.", ".") for name in _MEMBER.findall(bare)))
    return _parsed(bare)


def _plain(names: tuple[str, ...]) -> Find:
    def walk(document: Any) -> list[Any]:
        for name in names:
            if not isinstance(document, dict) or name not in document:
                return []
            document = document[name]
        return [document]

    return walk


def _parsed(bare: str) -> Find:
    # Takes long to import, and most processes never meet such a path.
    from jsonpath_ng.exceptions import JSONPathError
    from jsonpath_ng.ext.parser import parse

    rooted = "$" + _ESCAPED_MEMBER.sub(lambda member: "['" + member[1].replace("\\.", ".") + "']", bare)
    try:
        expression = parse(rooted)
    except (JSONPathError, AttributeError, ValueError) as failure:
        raise PathError(str(failure).splitlines()[0]) from None

    def search(document: Any) -> list[Any]:
        try:
            return [match.value for match in expression.find(document)]
        except (TypeError, ValueError, AttributeError, RecursionError):
            # A filter that compares what cannot be compared finds nothing.
            return []

    return search
