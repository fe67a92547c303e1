"""kubectl's JSONPath templates: ``{.items[*].metadata.name}``, ``{range .items[*]}...{end}``, ``{"\\n"}``.

The paths are read by jsonpath-ng; only the template around them is ours.
Source: Kubernetes, JSONPath Support.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from navarch.cli.cluster.layout import UsageError

TOKEN = re.compile(r"\{((?:[^{}\"']|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')*)\}")


@dataclass(slots=True)
class Text:
    """Literal text."""

    text: str


@dataclass(slots=True)
class Path:
    """A path whose values are printed, separated by blanks."""

    path: str


@dataclass(slots=True)
class Range:
    """A part that is repeated for each value of a path."""

    path: str
    body: "list[Text | Path | Range]" = field(default_factory=list)


Node = Text | Path | Range


def render(template: str, document: Any) -> str:
    """Fill the template from a JSON document. Raises UsageError for a template that cannot be read."""
    return "".join(_render(_parse(template), document))


def _parse(template: str) -> list[Node]:
    root: list[Node] = []
    stack: list[list[Node]] = [root]
    position = 0
    for match in TOKEN.finditer(template):
        if literal := template[position : match.start()]:
            stack[-1].append(Text(literal))
        position = match.end()
        inside = match[1].strip()
        if inside.startswith("range "):
            repeated = Range(inside.removeprefix("range ").strip())
            stack[-1].append(repeated)
            stack.append(repeated.body)
        elif inside == "end":
            stack.pop()
            if not stack:
                raise UsageError(f"jsonpath {template!r}: {{end}} without {{range}}")
        elif inside[:1] in ('"', "'"):
            stack[-1].append(Text(json.loads(f'"{inside[1:-1]}"')))
        else:
            stack[-1].append(Path(inside))
    if len(stack) != 1:
        raise UsageError(f"jsonpath {template!r}: {{range}} without {{end}}")
    if rest := template[position:]:
        root.append(Path(rest) if position == 0 and rest.startswith(".") else Text(rest))
    return root


def _render(nodes: Sequence[Node], document: Any) -> Iterator[str]:
    for node in nodes:
        match node:
            case Text():
                yield node.text
            case Path():
                yield " ".join(_shown(value) for value in _values(node.path, document))
            case Range():
                for value in _values(node.path, document):
                    yield from _render(node.body, value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def _values(path: str, document: Any) -> list[Any]:
    if path in ("", ".", "$", "@"):
        return [document]
    return [match.value for match in _compiled(path).find(document)]


@lru_cache
def _compiled(path: str) -> Any:
    from jsonpath_ng.exceptions import JSONPathError
    from jsonpath_ng.ext.parser import parse

    rooted = path if path[0] in "$@" else f"${path if path[0] in '.[' else '.' + path}"
    # `\.` in a key: kubectl escapes the dots of label names, jsonpath-ng quotes the key.
    rooted = re.sub(
        r"\.((?:[\w/-]|\\\.)*\\\.(?:[\w/-]|\\\.)*)", lambda m: "['" + m[1].replace("\\.", ".") + "']", rooted
    )
    try:
        return parse(rooted.replace("@", "$", 1) if rooted.startswith("@") else rooted)
    except (JSONPathError, AttributeError) as error:
        raise UsageError(f"jsonpath {path!r}: {error}") from error
