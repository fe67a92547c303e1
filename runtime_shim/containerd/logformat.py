"""CRI's log format: `<RFC 3339 time> <stream> <P or F> <text>`, one record a line.

F ends a line of the container; P says that the line goes on in the next record of the stream. Lines beyond
`LINE_BYTES` are cut so. Text without a line end stays here until its end comes, or until `flush`.
"""

from datetime import UTC, datetime

LINE_BYTES = 16 << 10


class LineFormatter:
    """The records of one stream of one container."""

    def __init__(self, stream: str) -> None:
        """stream: "stdout" or "stderr"."""
        self._full = f" {stream} F ".encode()
        self._partial = f" {stream} P ".encode()
        # The beginning of a line, shorter than `LINE_BYTES`.
        self.rest = b""

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """The records that this piece of output completes, ready to be appended to the log."""
        lines = (self.rest + data if self.rest else data).split(b"\n")
        self.rest = lines.pop()
        if len(self.rest) >= LINE_BYTES:
            # A record for each whole piece; what remains is the start of the line's last one.
            whole = len(self.rest) // LINE_BYTES * LINE_BYTES
            lines.append(self.rest[:whole])
            self.rest = self.rest[whole:]
            return self._records(lines, timestamp(now_ns), ends_in_line=False)
        return self._records(lines, timestamp(now_ns), ends_in_line=True) if lines else b""

    def flush(self, now_ns: int) -> bytes:
        """The record of the text that waits for its line end. Also where none will come: readers add none then."""
        rest, self.rest = self.rest, b""
        return timestamp(now_ns) + self._partial + rest + b"\n" if rest else b""

    def _records(self, lines: list[bytes], time: bytes, *, ends_in_line: bool) -> bytes:
        full = time + self._full
        if max(map(len, lines)) <= LINE_BYTES and ends_in_line:
            # The usual case at the speed of `join`.
            return full + (b"\n" + full).join(lines) + b"\n"
        partial = time + self._partial
        records: list[bytes] = []
        for position, line in enumerate(lines):
            pieces = [line[at : at + LINE_BYTES] for at in range(0, len(line), LINE_BYTES)] or [b""]
            last = full if ends_in_line or position < len(lines) - 1 else partial
            records.extend(partial + piece + b"\n" for piece in pieces[:-1])
            records.append(last + pieces[-1] + b"\n")
        return b"".join(records)


def timestamp(now_ns: int) -> bytes:
    """RFC 3339 in UTC with all nine digits of the nanoseconds."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z".encode()
