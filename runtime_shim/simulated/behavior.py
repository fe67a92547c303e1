"""What annotations ask a simulated container to do."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from navarch.runtime_shim.errors import InvalidArgument

PREFIX = "simulated.navarch.dev/"
# Of an image, and of a container's memory, when nothing is said.
DEFAULT_BYTES = 1 << 20
MOST_BYTES = 1 << 50
# What a process can leave behind.
EXIT_CODES = range(256)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What values an annotation has. read: raises ValueError for others."""

    read: Callable[[str], Any]
    accepted: str


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _number(accepted: range) -> _Kind:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) not in accepted:
            raise ValueError(text)
        return int(text)

    return _Kind(read, f"a whole number from {accepted[0]} to {accepted[-1]}")


_SECONDS = _Kind(_seconds, "a number of seconds, not below 0")
_TEXT = _Kind(str, "a text")
_TRUTH = _Kind(lambda text: ("false", "true").index(text) == 1, "true or false")
_BYTES = _number(range(MOST_BYTES + 1))
_CODE = _number(EXIT_CODES)
_KINDS = {
    "start-delay-seconds": _SECONDS,
    "start-error": _TEXT,
    "exit-after-seconds": _SECONDS,
    "exit-code": _CODE,
    "oom-after-seconds": _SECONDS,
    "ignore-sigterm": _TRUTH,
    "log": _TEXT,
    "exec-output": _TEXT,
    "exec-exit-code": _CODE,
    "pull-error": _TEXT,
    "pull-delay-seconds": _SECONDS,
    "image-size-bytes": _BYTES,
    "memory-bytes": _BYTES,
    "cpu-millicores": _number(range(1_000_001)),
}


@dataclass(frozen=True, slots=True)
class Behavior:
    """Times in seconds, None: never. exec_output None: the command itself is the output."""

    start_delay_seconds: float = 0.0
    start_error: str = ""
    exit_after_seconds: float | None = None
    exit_code: int = 0
    oom_after_seconds: float | None = None
    ignore_sigterm: bool = False
    log: str | None = None
    exec_output: str | None = None
    exec_exit_code: int = 0
    pull_error: str = ""
    pull_delay_seconds: float = 0.0
    image_size_bytes: int = DEFAULT_BYTES
    memory_bytes: int = DEFAULT_BYTES
    cpu_millicores: int = 1

    @classmethod
    def of(cls, annotations: Mapping[str, str], container: str) -> "Behavior":
        """Read the annotations of a Pod; container "": those for all of its containers. Raises InvalidArgument."""
        values: dict[str, Any] = {}
        for key, text in annotations.items():
            if not key.startswith(PREFIX):
                continue
            name, dot, narrowed = key.removeprefix(PREFIX).partition(".")
            value = _read(key, name, text)
            if narrowed == container if dot else f"{key}.{container}" not in annotations:
                values[name.replace("-", "_")] = value
        return cls(**values)


def _read(key: str, name: str, text: str) -> Any:
    kind = _KINDS.get(name)
    if kind is None:
        raise InvalidArgument(f"annotation {key}: unknown; known are {', '.join(_KINDS)}")
    try:
        return kind.read(text)
    except ValueError:
        raise InvalidArgument(f"annotation {key}: {text!r:.100} is not {kind.accepted}") from None
