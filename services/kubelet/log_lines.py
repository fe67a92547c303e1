"""The CRI log format: `<RFC 3339 time> <stdout|stderr> <P|F>[:tags] <content>`, one entry a line.

P marks a part of a longer line; its content carries no line end.
"""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry. `content` ends with a line end unless it is a part."""

    timestamp: bytes
    stream: str
    content: bytes
    partial: bool

    def unix(self) -> float:
        """The time of the entry, Unix seconds; microseconds are kept."""
        text = self.timestamp.decode()
        moment, _, rest = text.partition(".")
        digits = "".join(character for character in rest[:9] if character.isdigit())[:6]
        zone = rest[len(rest.rstrip("Z")) :] and "Z"
        offset = text[-6:] if not zone and text[-6] in "+-" else "+00:00"
        whole = moment[:19]
        return datetime.fromisoformat(f"{whole}.{digits or '0':0<6}{offset}").astimezone(UTC).timestamp()


def split_lines(data: bytes) -> list[bytes]:
    """Lines with their ends. Only a newline ends a line: a carriage return belongs to what the container wrote."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def parse_line(line: bytes) -> LogEntry | None:
    """Read one line with its end; None for what is no entry."""
    parts = line.split(b" ", 3)
    if len(parts) < 3 or not line.endswith(b"\n"):
        return None
    timestamp, stream, tags = parts[:3]
    content = parts[3] if len(parts) == 4 else b"\n"
    if stream not in (b"stdout", b"stderr"):
        return None
    partial = tags.rstrip(b"\n").split(b":")[0] == b"P"
    return LogEntry(timestamp, stream.decode(), content[:-1] if partial else content, partial)
