"""Spans of time as people write them: 90, 30s, 5m, 1h30m."""

import re

from navarch.cli.errors import UsageError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def seconds(text: str, option: str = "--timeout") -> float:
    """The span in seconds; a bare number is seconds. Raises UsageError that names the option."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise UsageError(f"{option} {text!r} is not a duration: write 30s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def limit(text: str, option: str = "--timeout") -> float | None:
    """The span in seconds, where 0 means without end."""
    return seconds(text, option) or None
