"""The last words of a container: its termination message, or the end of its log."""

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.kubelet.core.observed import (
    EXITED,
    MESSAGE_PATH_ANNOTATION,
    MESSAGE_POLICY_ANNOTATION,
    UID_LABEL,
    Container,
)
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.log_lines import parse_line, split_lines

MESSAGE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80


def with_last_words(run: Container, status: criv1.ContainerStatus, root: str) -> Container:
    """The run with the message that it left. Reads at most a few KiB."""
    if run.state != EXITED or not status.annotations.get(MESSAGE_PATH_ANNOTATION):
        return run
    path = Layout(PurePosixPath(root)).termination_message(status.labels.get(UID_LABEL, ""), run.name, run.attempt)
    words = _end(Path(path))
    if not words and status.annotations.get(MESSAGE_POLICY_ANNOTATION) == "FallbackToLogsOnError" and run.exit_code:
        words = _end_of_log(Path(status.log_path))
    if not words:
        return run
    return replace(run, message=f"{run.message}: {words}" if run.message else words)


def _end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MESSAGE_BYTES))
            return file.read(MESSAGE_BYTES).decode(errors="replace")
    except OSError:
        # Removed with its Pod, or never made: then there are no last words.
        return ""


def _end_of_log(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # Lines carry a time stamp each: read more than is kept.
            file.seek(max(0, size - 4 * LOG_BYTES))
            lines = split_lines(file.read())
    except OSError:
        return ""
    entries = [entry for line in lines[-LOG_LINES:] if (entry := parse_line(line)) is not None]
    return b"".join(entry.content for entry in entries)[-LOG_BYTES:].decode(errors="replace")
