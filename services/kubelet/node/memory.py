"""How much memory is in use: the working set of a control group (v1 or v2), without what can be dropped at once."""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def working_set(path: str) -> int | None:
    """Bytes that a control group, "/" for all, holds and cannot give back at once; None where nobody counts."""
    try:
        return _v1(path) if (ROOT / "memory").is_dir() else _v2(path)
    except (OSError, KeyError, ValueError):
        return None


def processes(path: str) -> int | None:
    """How many tasks a control group has; None where nobody counts."""
    below = ROOT / "pids" if (ROOT / "pids").is_dir() else ROOT
    try:
        return int((below / path.lstrip("/") / "pids.current").read_text())
    except (OSError, ValueError):
        return None


def meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * (1024 if row[-1] == "kB" else 1) for row in rows}


def memory_available() -> int:
    """What all of the host can still take."""
    info = meminfo()
    used = working_set("/")
    return info.get("MemAvailable", 0) if used is None else max(0, info["MemTotal"] - used)


def inactive_file() -> int:
    """Bytes of files that nobody has read of late, of the whole host; they are dropped first."""
    try:
        if (ROOT / "memory").is_dir():
            return _stat(ROOT / "memory")["total_inactive_file"]
        return _stat(ROOT)["inactive_file"]
    except (OSError, KeyError, ValueError):
        return 0


def _v1(path: str) -> int:
    group = ROOT / "memory" / path.lstrip("/")
    return max(0, int((group / "memory.usage_in_bytes").read_text()) - _stat(group)["total_inactive_file"])


def _v2(path: str) -> int:
    group = ROOT / path.lstrip("/")
    if group == ROOT:
        # The root has no figure of its own.
        info = meminfo()
        used = info["MemTotal"] - info["MemFree"]
    else:
        used = int((group / "memory.current").read_text())
    return max(0, used - _stat(group)["inactive_file"])


def _stat(group: Path) -> dict[str, int]:
    rows = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    return {name: int(value) for name, value in rows}
