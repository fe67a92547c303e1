"""The logs of the host's services: of the kubelet itself, of those beside it, and of systemd's units.

A service that writes into a file is read there: where the kubelet's own output goes, and in /var/log. All others are
asked for from the journal.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from navarch.services.api.errors import BadRequest, ServiceUnavailable

KUBELET = "kubelet"
LOGS = Path("/var/log")
STANDARD_OUTPUT = Path("/proc/self/fd/1")
LINES, MOST_BYTES = 100, 1 << 20
JOURNAL_S = 20.0
# What systemd lets a unit be called; a path is none.
_NAME = re.compile(r"[A-Za-z0-9_@:][A-Za-z0-9_.@:\\-]*")


@dataclass(frozen=True, slots=True)
class Found:
    """What was written last, and where that was read."""

    data: bytes
    source: str


async def read(unit: str, lines: int) -> Found:
    """The last lines of a service; "" for the kubelet, 0 for the usual number. Raises ApiError."""
    unit, lines = unit or KUBELET, lines or LINES
    if _NAME.fullmatch(unit) is None:
        raise BadRequest(f'unit: "{unit}" is no name of a service')
    own = await asyncio.to_thread(_own_file)
    for path in candidates(unit, own):
        if path.is_file():
            return Found(await asyncio.to_thread(tail, path, lines), str(path))
    return await _journal(unit, lines)


def candidates(unit: str, own: Path | None) -> Iterable[Path]:
    """The files that a service may write into. own: where the kubelet's output goes, if that is a file."""
    if own is not None:
        yield own if unit == KUBELET else own.with_name(f"{unit}{own.suffix}")
    yield from (LOGS / f"{unit}.log", LOGS / unit / f"{unit}.log", LOGS / unit)


def tail(path: Path, lines: int) -> bytes:
    """The last lines of a file, no more than 1 MiB of them, and only whole ones."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MOST_BYTES))
        data = file.read(MOST_BYTES)
    if size > MOST_BYTES:
        data = data[data.find(b"\n") + 1 :]
    return b"".join(data.splitlines(keepends=True)[-lines:])


def _own_file() -> Path | None:
    path = Path(os.path.realpath(STANDARD_OUTPUT))
    return path if path.is_file() else None


async def _journal(unit: str, lines: int) -> Found:
    program = shutil.which("journalctl")
    if program is None:
        raise ServiceUnavailable(f"{unit} writes into no file that is known, and this host has no journal")
    command = (program, f"--unit={unit}", f"--lines={lines}", "--no-pager", "--quiet", "--output=short-iso")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(JOURNAL_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ServiceUnavailable(f"the journal has not answered for {unit} within {JOURNAL_S:g} s") from None
    if process.returncode:
        raise ServiceUnavailable(f"{' '.join(command)}: {err.decode(errors='replace').strip()}")
    return Found(out[-MOST_BYTES:], " ".join(command))
