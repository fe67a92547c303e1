"""YAML text to JSON values, as Kubernetes reads YAML, with the place of every value.

The grammar is libyaml's; what a plain scalar means is decided here, because manifests are read as Go's
YAML library reads them: yes/no/on/off/y/n are booleans, 0644 is octal, 12:30 and dates are strings, keys
become strings. Duplicate keys, unknown tags and NaN are errors. Depth and the expansion of aliases are
bounded, so that a small hostile text stays a small cost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml
from yaml import events as ev

DEPTH_LIMIT: Final = 200
NODE_LIMIT: Final = 1_000_000

_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False),
}
_INTEGER: Final = re.compile(r"[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9]\d*)", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DIGITS_LIMIT: Final = 100
_TAG: Final = "tag:yaml.org,2002:"


class Mark(NamedTuple):
    """A place in a text, both counted from one."""

    line: int
    column: int


class YamlError(ValueError):
    """Text that is not YAML, or YAML that is not JSON's; says where."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass(slots=True)
class Tree:
    """A value and where its parts stand, by path ("spec.containers[0].name")."""

    value: Any
    marks: dict[str, Mark] = field(default_factory=dict)

    def mark(self, path: str) -> Mark:
        """The place of a path, or of what is nearest around it."""
        while path and path not in self.marks:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.marks.get(path, Mark(1, 1))


def parse(text: str, first_line: int = 1) -> Tree:
    """The one document of a text whose first line has that number. Raises YamlError."""
    builder = _Builder(first_line)
    try:
        return builder.document(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        place = builder.mark(error.problem_mark or error.context_mark)
        # Where an open bracket or quote is missed is often far below the place where it was opened.
        begun = builder.mark(error.context_mark)
        context = f" {error.context} from line {begun.line}" if error.context and begun.line != place.line else ""
        raise YamlError(f"{error.problem or error}{context}", place) from None
    except yaml.reader.ReaderError as error:
        line = first_line + text.encode()[: error.position].count(b"\n")
        raise YamlError(error.reason, Mark(line, 1)) from None


class _Builder:
    """Builds one document from the parser's events."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self._events: Iterator[Any] = iter(())
        self._marks: dict[str, Mark] = {}
        # anchor -> (value, how many nodes it stands for)
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0

    def mark(self, place: Any) -> Mark:
        return Mark(place.line + self._first_line, place.column + 1) if place else Mark(self._first_line, 1)

    def document(self, events: Iterator[Any]) -> Tree:
        self._events = events
        value: Any = None
        documents = 0
        for event in events:
            if isinstance(event, ev.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(event, "a second document starts without '---' at the start of a line")
                value = self._node(next(events), "", 0)
        return Tree(value, self._marks)

    def _error(self, event: Any, message: str) -> YamlError:
        return YamlError(message, self.mark(event.start_mark))

    def _node(self, event: Any, path: str, depth: int) -> Any:
        self._marks[path] = self.mark(event.start_mark)
        if depth > DEPTH_LIMIT:
            raise self._error(event, f"nested more than {DEPTH_LIMIT} levels deep")
        if isinstance(event, ev.AliasEvent):
            return self._alias(event)
        before = self._nodes
        self._count(event, 1)
        match event:
            case ev.ScalarEvent():
                value = self._scalar(event)
            case ev.SequenceStartEvent():
                value = self._sequence(event, path, depth)
            case _:
                value = self._mapping(event, path, depth)
        if event.anchor:
            self._anchors[event.anchor] = value, self._nodes - before
        return value

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODE_LIMIT:
            raise self._error(event, "the document is too large once its aliases are expanded")

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(event, f"unknown anchor '{event.anchor}' referenced")
        value, nodes = self._anchors[event.anchor]
        self._count(event, nodes)
        return value

    def _sequence(self, event: Any, path: str, depth: int) -> list[Any]:
        self._check_tag(event, "seq")
        items: list[Any] = []
        for item in self._events:
            if isinstance(item, ev.SequenceEndEvent):
                break
            items.append(self._node(item, f"{path}[{len(items)}]", depth + 1))
        return items

    def _mapping(self, event: Any, path: str, depth: int) -> dict[str, Any]:
        self._check_tag(event, "map")
        members: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_event in self._events:
            if isinstance(key_event, ev.MappingEndEvent):
                break
            plain = isinstance(key_event, ev.ScalarEvent) and key_event.implicit[0]
            key = self._key(key_event)
            child = f"{path}.{key}" if path else key
            value = self._node(next(self._events), child, depth + 1)
            if key == "<<" and plain:
                self._merge(key_event, value, merged)
                continue
            self._marks[child] = self.mark(key_event.start_mark)
            if key in members:
                raise self._error(key_event, f'key "{key}" already set in map')
            members[key] = value
        return merged | members

    def _merge(self, event: Any, value: Any, into: dict[str, Any]) -> None:
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise self._error(event, "map merge requires map or sequence of maps as the value")
            # The first map that has a key wins.
            for key, item in source.items():
                into.setdefault(key, item)

    def _key(self, event: Any) -> str:
        key = self._alias(event) if isinstance(event, ev.AliasEvent) else None
        if isinstance(event, ev.ScalarEvent):
            if event.value == "<<":
                return "<<"
            key = self._scalar(event)
            if event.anchor:
                self._anchors[event.anchor] = key, 1
        match key:
            case str():
                return key
            case bool():
                return str(key).lower()
            case int() | float():
                return str(key)
        raise self._error(event, "a map's key has to be a string")

    def _check_tag(self, event: Any, name: str) -> None:
        if event.tag not in (None, "!", _TAG + name):
            raise self._error(event, f"unsupported tag {event.tag}")

    def _scalar(self, event: Any) -> Any:
        if event.tag in ("!", _TAG + "str") or (event.tag is None and not event.implicit[0]):
            return event.value
        value = self._plain(event)
        found = _TAGS_OF.get(type(value), ())
        if event.tag is not None and event.tag.removeprefix(_TAG) not in found:
            raise self._error(event, f"cannot read {event.value[:40]!r} as {event.tag}")
        return value

    def _plain(self, event: Any) -> Any:
        """What a scalar without quotes means."""
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            raise self._error(event, f"{text} is not a JSON number")
        digits = text.replace("_", "")
        if not _FLOAT.fullmatch(digits) and not _INTEGER.fullmatch(digits):
            return text
        if len(digits) > _DIGITS_LIMIT:
            raise self._error(event, "the number has too many digits")
        if _INTEGER.fullmatch(digits):
            return _integer(digits)
        number = float(digits)
        if not math.isfinite(number):
            raise self._error(event, f"{text} is out of range")
        # JSON does not tell 3.0 from 3, and integer fields take both.
        return int(number) if number.is_integer() and abs(number) < 2**63 else number


_TAGS_OF: Final[dict[type, tuple[str, ...]]] = {
    str: (),
    bool: ("bool",),
    type(None): ("null",),
    int: ("int", "float"),
    float: ("float",),
}


def _integer(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-").lower()
    if body[:2] in ("0x", "0b", "0o"):
        return sign * int(body, 0)
    return sign * int(body, 8 if len(body) > 1 and body[0] == "0" else 10)


class _Writer(yaml.CSafeDumper):
    """Writes text of several lines so that people can read it."""

    def _text(self, value: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Writer.add_representer(str, _Writer._text)


def dump(value: Any, *, sort_keys: bool = True) -> str:
    """A JSON value as YAML."""
    return yaml.dump(value, Dumper=_Writer, sort_keys=sort_keys, default_flow_style=False, allow_unicode=True)
