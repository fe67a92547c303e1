"""kubectl's JSONPath templates: ``{.items[*].metadata.name}``, ``{range .items[*]}...{end}``, ``{"\\n"}``.

Paths are read by `services.api.jsonpath`; here is the template around them.
Source: Kubernetes, JSONPath Support.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from navarch.cli.errors import UsageError
from navarch.services.api import jsonpath

_QUOTED = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_TOKEN = re.compile(rf"\{{((?:[^{{}}\"']|{_QUOTED})*)\}}")
_STRING = re.compile(_QUOTED)


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
    return "".join(_render(_parse(template), document, document))


def values(path: str, document: Any) -> list[Any]:
    """What a path, with or without braces and leading dot, finds. Raises UsageError."""
    return _values(path, document, document)


def _parse(template: str) -> list[Node]:
    if "{" not in template:
        return [Path(template)]
    root: list[Node] = []
    stack: list[list[Node]] = [root]
    position = 0
    for match in _TOKEN.finditer(template):
        _literal(template, position, match.start(), stack[-1])
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
        elif _STRING.fullmatch(inside):
            stack[-1].append(Text(_unquoted(inside)))
        else:
            stack[-1].append(Path(inside))
    if len(stack) != 1:
        raise UsageError(f"jsonpath {template!r}: {{range}} without {{end}}")
    _literal(template, position, len(template), root)
    return root


def _literal(template: str, start: int, end: int, into: list[Node]) -> None:
    text = template[start:end]
    if "{" in text:
        raise UsageError(f"jsonpath {template!r}: a brace is not closed")
    if text:
        into.append(Text(text))


def _unquoted(quoted: str) -> str:
    inner = quoted[1:-1] if quoted[0] == '"' else quoted[1:-1].replace("\\'", "'").replace('"', '\\"')
    try:
        text: str = json.loads(f'"{inner}"', strict=False)
    except ValueError as error:
        raise UsageError(f"jsonpath: {quoted} is not a string") from error
    return text


def _render(nodes: Sequence[Node], document: Any, root: Any) -> Iterator[str]:
    for node in nodes:
        match node:
            case Text():
                yield node.text
            case Path():
                yield " ".join(shown(value) for value in _values(node.path, document, root))
            case Range():
                for value in _values(node.path, document, root):
                    yield from _render(node.body, value, root)


def shown(value: Any) -> str:
    """A value as templates print it: text bare, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _values(path: str, document: Any, root: Any) -> list[Any]:
    try:
        return jsonpath.find(path, root if path.startswith("$") else document)
    except jsonpath.PathError as error:
        raise UsageError(f"jsonpath {path!r}: {error}") from None
