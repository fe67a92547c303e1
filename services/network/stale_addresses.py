"""Gives back the addresses of sandboxes that are no more.

The runtime releases the addresses of what it has a record of, also after crashes. What lost its record (a disk that
was full, a state folder that was deleted, a runtime that was exchanged) keeps its address for ever: host-local knows
nothing of sandboxes, and the garbage collection of CNI came after the plugins that distributions ship. So the files of
host-local, one for each address, are compared with the sandboxes that the runtime lists.

A sandbox is not listed while it is being made. So an address is given back only if nobody was listed for it over
`GRACE_S`, more than making takes.
"""

import fcntl
import os
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path

# A runtime waits 30 s for a plugin, and there are three.
GRACE_S = 120.0
LOCK_FILE = "lock"


class StaleAddresses:
    """Remembers since when a holder has not been listed. No I/O."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._missing_since: dict[tuple[str, str], float] = {}

    def stale(self, held: Mapping[str, str], live: Collection[str], now: float) -> dict[str, str]:
        """What to give back of what is held. held: sandbox by address; live: the listed ones; now: monotonic."""
        missing = {(address, sandbox) for address, sandbox in held.items() if sandbox not in live}
        self._missing_since = {key: self._missing_since.get(key, now) for key in sorted(missing)}
        return {
            address: sandbox
            for (address, sandbox), since in self._missing_since.items()
            if now - since >= self._grace_s
        }


def held_addresses(folder: Path) -> dict[str, str]:
    """Sandbox by address, as host-local has noted them."""
    held = {}
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    for name in names:
        if _is_address(name) and (sandbox := _holder(folder / name)):
            held[name] = sandbox
    return held


def release(folder: Path, stale: Mapping[str, str]) -> list[str]:
    """Give these back, under host-local's lock, if they are still held by the same. Returns those given back."""
    if not stale:
        return []
    released = []
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for address, sandbox in stale.items():
            if _holder(folder / address) == sandbox:
                (folder / address).unlink()
                released.append(address)
    finally:
        os.close(descriptor)
    return released


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _holder(path: Path) -> str:
    """The first line is the sandbox, the second its interface."""
    try:
        return path.read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        return ""
