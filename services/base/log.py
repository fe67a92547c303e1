"""Structured logging: one event, one line, `key=value`.

    2026-01-31T12:00:00.123Z INFO  kubelet pod.started pod=default/web-0 took_ms=312

The standard `logging` module carries the lines, so that libraries, levels and tests' log capture work as
everywhere; ours only adds the fields. Values are quoted where they hold blanks, quotes or line ends, so a
line stays one line.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Self

FIELDS = "navarch_fields"
LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}
NEEDS_QUOTES = frozenset(' "=\n\r\t')


class Logger:
    """Logs events of one component, with fields that every line of it carries."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: dict[str, object]) -> None:
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: object) -> Self:
        """A logger whose lines also carry these fields."""
        return type(self)(self._logger, {**self._fields, **fields})

    def debug(self, event: str, **fields: object) -> None:
        """For a developer who looks for the cause of something."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Something worth knowing happened as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something failed that will be tried again or can be lived with."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something failed that somebody must look at."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        self._log(logging.ERROR, event, fields, traceback=True)

    def is_debug(self) -> bool:
        """Whether debug lines are written at all, for fields that cost something to compute."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def _log(self, level: int, event: str, fields: dict[str, object], *, traceback: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            extra = {FIELDS: {**self._fields, **fields}}
            self._logger.log(level, "%s", event, extra=extra, exc_info=traceback, stacklevel=3)


class LineFormatter(logging.Formatter):
    """Renders a record, ours or a library's, as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end; a traceback is a field of it."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields: dict[str, object] = dict(getattr(record, FIELDS, {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        pairs = "".join(f" {key}={render(value)}" for key, value in fields.items())
        component = record.name.removeprefix("navarch.")
        message = record.getMessage() if hasattr(record, FIELDS) else render(record.getMessage())
        return f"{moment} {LEVELS.get(record.levelno, record.levelname):<5} {component} {message}{pairs}"


def render(value: object) -> str:
    """A value of a field as it stands in the line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if not text or not NEEDS_QUOTES.isdisjoint(text):
        return json.dumps(text, ensure_ascii=False)
    return text


def get_logger(component: str) -> Logger:
    """The logger of a component, such as "kubelet" or "kubelet.volumes"."""
    return Logger(logging.getLogger(f"navarch.{component}"), {})


def configure(level: str = "info", component: str = "") -> None:
    """Send all logging of this process to stderr. component: named on lines of libraries' root logger."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries speak only when something is wrong, unless we are debugging.
    quiet = logging.DEBUG if level.lower() == "debug" else logging.WARNING
    for library in ("asyncio", "grpc", "pyroute2", "pysyncobj", "aiohttp.access"):
        logging.getLogger(library).setLevel(quiet)
    root.name = component or "root"
