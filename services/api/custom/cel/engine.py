"""Compiling and running expressions over JSON values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from navarch.services.api.custom.cel import collections, network, numbers
from navarch.services.api.custom.cel.types import T, cel

_EXTENSIONS: Final = ("bindings", "two-var-comprehensions", "lists", "sets", "strings", "optional", "math")
# Where the engine's words for what goes wrong differ from those of Kubernetes' engine.
_WORDS: Final = (
    (re.compile(r'Key not found in map : "?([^"]*)"?'), r"no such key: \1"),
    (re.compile(r"No matching overloads found.*"), "no such overload"),
    (re.compile(r"Applying SELECT to non-message type"), "no such overload"),
    (re.compile(r"Index error: index=(-?\d+) size=\d+"), r"index out of bounds: \1"),
    (re.compile(r"divide by zero"), "division by zero"),
)


class CompileError(Exception):
    """The expression is none, or of the wrong type."""


class EvaluationError(Exception):
    """The expression has no value for this input. exhausted: it takes too long."""

    def __init__(self, message: str, *, exhausted: bool = False) -> None:
        super().__init__(message)
        self.exhausted = exhausted


@lru_cache(maxsize=8)
def _environment(variables: tuple[str, ...]) -> Any:
    """Made when first needed: it costs some milliseconds."""
    listed = "".join(f"- name: {name}\n" for name in _EXTENSIONS)
    library = [*network.functions(), *numbers.functions(), *collections.functions()]
    config = cel.NewEnvConfigFromYaml(f"name: navarch\nextensions:\n{listed}")
    extensions = [cel.CelExtension(f"navarch{index}", [one]) for index, one in enumerate(library)]
    return cel.NewEnv(config=config, variables=dict.fromkeys(variables, T.DYN), extensions=extensions)


class Expression:
    """A compiled expression."""

    def __init__(self, text: str, variables: tuple[str, ...], result: Any = None) -> None:
        """result: the type that its value must be of. Raises CompileError."""
        try:
            self._program = _environment(variables).compile(text)
        except (RuntimeError, ValueError, TypeError) as failure:
            raise CompileError(f"compilation failed: {_cleaned(str(failure))}") from None
        found = self._program.return_type()
        if result is not None and found not in (result, T.DYN):
            raise CompileError(f"must evaluate to a {result.name().lower()}")

    def run(self, values: Mapping[str, Any]) -> Any:
        """The value, in Python's types. Raises EvaluationError."""
        try:
            result = self._program.eval(data=dict(values))
        except (RuntimeError, TypeError, ValueError) as failure:
            raise EvaluationError(str(failure), exhausted="budget exceeded" in str(failure)) from None
        if result.type() == T.ERROR:
            text = str(result.value())
            raise EvaluationError(_translated(text), exhausted="budget exceeded" in text)
        try:
            return result.plain_value()
        except TypeError:
            raise EvaluationError("the value is none that JSON has") from None


def _translated(text: str) -> str:
    for pattern, words in _WORDS:
        match = pattern.search(text)
        if match:
            return match.expand(words)
    return re.sub(r"^[A-Z_]+: ", "", text)


def _cleaned(text: str) -> str:
    return re.sub(r"^[A-Z_]+: ", "", text).removesuffix(" [INVALID_ARGUMENT]")


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> Any:
    return cel.NewEnv(variables={"self": T.STRING}).compile(f"self.matches({json.dumps(pattern)})")


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text; in time linear in both. A pattern that is none judges nothing."""
    value = _pattern(pattern).eval(data={"self": text}).plain_value()
    return value is not False


# RE2's words for what is wrong with a pattern, and those of Go's library.
_PATTERN_WORDS: Final = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "invalid perl operator": "invalid or unsupported Perl syntax",
}


def pattern_error(pattern: str) -> str:
    """What is wrong with a pattern, or ""."""
    value = _pattern(pattern).eval(data={"self": ""})
    if value.type() != T.ERROR:
        return ""
    said, _, place = str(value.value()).partition("invalid regular expression: ")[2].partition(": ")
    return f"error parsing regexp: {_PATTERN_WORDS.get(said, said)}: `{place}`"
