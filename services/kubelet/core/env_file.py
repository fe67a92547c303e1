"""Files of environment variables, that containers write for others of their Pod (KEP-3721). Pure.

Lines are `NAME='value'`, comments (`#`) or blank; a value is taken literally, and goes on over lines until its quote is
closed. What a shell would read otherwise is refused, but `NAME= 'value'`, which is the empty value to both.
"""

import re

from navarch.services.kubelet.core.references import ConfigError

_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*([^=\n]*)(=?)")
_VALUE = re.compile(r"'([^']*)'[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_EMPTY = re.compile(r"[ \t][^\n]*(?:\n|\Z)")


def value_of(text: str, key: str) -> str | None:
    """The first value of a variable; None for one that is not there. Raises ConfigError for what comes before it."""
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        head = _NAME.match(text, at)
        assert head is not None
        name, equals = head[1], head[2]
        if not equals or not name or name != name.rstrip(" \t"):
            raise _refusal(text, at, "it must begin with NAME=")
        if value := _VALUE.match(text, head.end()):
            found = value[1]
        elif value := _EMPTY.match(text, head.end()):
            found = ""
        else:
            raise _refusal(text, at, "the value must be enclosed in single quotes, with nothing after them")
        if name == key:
            return found
        at = value.end()
    return None


def _refusal(text: str, at: int, message: str) -> ConfigError:
    return ConfigError(f"couldn't parse env file: line {text.count(chr(10), 0, at) + 1}: {message}")
