"""Label selectors: the text form of queries ("a=b,c in (x,y),!d") and the structured form of specs.

Both become a Selector, a conjunction of requirements that is tested against a mapping of labels. The text
grammar is Kubernetes': ``=``, ``==``, ``!=``, ``in``, ``notin``, bare key, ``!key``, ``>`` and ``<``. A
requirement of absence (``!=``, ``notin``) also holds where the label is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from navarch.protos.k8s.meta import v1_pb2 as metav1

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_NAME: Final = re.compile(_PART, re.ASCII)
_PREFIX: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_TOKEN: Final = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+)")
_OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)


class SelectorError(ValueError):
    """The selector cannot be understood."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. ``operator`` is "in", "notin", "exists", "!", "gt" or "lt"."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy this condition."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        if value is None or not _INTEGER.fullmatch(value):
            return False
        bound = int(self.values[0])
        return int(value) > bound if self.operator == "gt" else int(value) < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.operator == 'in' else '!='}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its requirements have to hold. Without any it matches everything, unless it is NOTHING."""

    requirements: tuple[Requirement, ...] = ()
    never: bool = False

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read the text form; "" selects everything. Raises SelectorError."""
        return cls(tuple(_Parser(text).requirements())) if text.strip() else EVERYTHING

    @classmethod
    def of(cls, selector: metav1.LabelSelector | None) -> Selector:
        """Read the structured form: an empty one selects everything, None nothing. Raises SelectorError."""
        if selector is None:
            return NOTHING
        found = [_checked(key, "in", (selector.match_labels[key],)) for key in sorted(selector.match_labels)]
        for expression in selector.match_expressions:
            if expression.operator not in _OPERATORS:
                raise SelectorError(f'"{expression.operator}" is not a valid label selector operator')
            found.append(_checked(expression.key, _OPERATORS[expression.operator], tuple(expression.values)))
        return cls(tuple(found)) if found else EVERYTHING

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Selector:
        """Exactly these labels, as Services and ReplicationControllers select; unchecked."""
        return cls(tuple(Requirement(key, "in", (labels[key],)) for key in sorted(labels)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        if self.never:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        """Whether it narrows anything down."""
        return self.never or bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING: Final = Selector()
NOTHING: Final = Selector(never=True)


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text)
        self._at = 0

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens, position, end = [], 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:  # cannot happen: the last alternative takes what the others leave
                raise SelectorError(f"unable to parse {text!r}")
            tokens.append(match[1])
            position = match.end()
        return tokens

    def requirements(self) -> Iterator[Requirement]:
        while True:
            yield self._requirement()
            separator = self._next()
            if not separator:
                return
            if separator != ",":
                raise self._error(f"found '{separator}', expected: ',' or end of selector")

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _error(self, detail: str) -> SelectorError:
        return SelectorError(f"unable to parse requirement: {detail} in {self._text!r}")

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return _checked(self._word("label key"), "!", ())
        key = self._word("label key")
        operator = self._peek()
        if operator in ("", ","):
            return _checked(key, "exists", ())
        self._next()
        match operator:
            case "=" | "==":
                return _checked(key, "in", (self._value(),))
            case "!=":
                return _checked(key, "notin", (self._value(),))
            case "in" | "notin":
                return _checked(key, operator, tuple(dict.fromkeys(self._values())))
            case ">" | "<":
                return _checked(key, "gt" if operator == ">" else "lt", (self._value(),))
        raise self._error(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _word(self, what: str) -> str:
        token = self._next()
        if not token or not (token[0].isalnum() or token[0] in "_.-/"):
            raise self._error(f"found '{token}', expected: {what}")
        return token

    def _value(self) -> str:
        return "" if self._peek() in ("", ",") else self._word("value")

    def _values(self) -> Iterator[str]:
        if self._next() != "(":
            raise self._error("expected: '('")
        while True:
            yield "" if self._peek() in (",", ")") else self._word("value")
            token = self._next()
            if token == ")":
                return
            if token != ",":
                raise self._error(f"found '{token}', expected: ',' or ')'")


def _checked(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    problem = key_problem(key)
    if problem:
        raise SelectorError(f'invalid label key "{key}": {problem}')
    if operator in ("in", "notin") and not values:
        raise SelectorError(f"key {key}: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and values:
        raise SelectorError(f"key {key}: values set must be empty for exists and does not exist")
    if operator in ("gt", "lt") and not _INTEGER.fullmatch(values[0]):
        raise SelectorError(f"key {key}: for 'Gt', 'Lt' operators, the value must be an integer")
    for value in values:
        problem = value_problem(value)
        if problem:
            raise SelectorError(f'invalid label value "{value}": at key "{key}": {problem}')
    return Requirement(key, operator, values)


def key_problem(key: str) -> str:
    """What is wrong with a label key (an optional DNS prefix and a name); "" when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        return "prefix part must be a lowercase RFC 1123 subdomain of at most 253 characters"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 bytes"
    if not _NAME.fullmatch(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return ""


def value_problem(value: str) -> str:
    """What is wrong with a label value; "" when nothing is."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    if value and not _NAME.fullmatch(value):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return ""


def format_labels(labels: Mapping[str, str]) -> str:
    """Labels as tables show them: "a=b,c=d", or "<none>"."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"
