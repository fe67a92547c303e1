"""`cpu_manager_state`: who has which CPUs, on disk. Pure.

The file is the genuine kubelet's, checksum and all, so that each takes over from the other. Its checksum is FNV-1a of
the record as Go's spew prints it (`%#v`).
"""

import json
from collections.abc import Mapping

from navarch.services.kubelet.core.cpu_lists import read_cpus, write_cpus
from navarch.services.kubelet.core.exclusive_cpus import Assignments, InvalidCpuState

FILE = "cpu_manager_state"
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193

Entries = Mapping[str, Mapping[str, str]]


def written(policy: str, shared: frozenset[int], assigned: Assignments) -> str:
    """The file's content."""
    entries: dict[str, dict[str, str]] = {}
    for (uid, container), cpus in sorted(assigned.items()):
        entries.setdefault(uid, {})[container] = write_cpus(cpus)
    default = write_cpus(shared)
    document = {"policyName": policy, "defaultCpuSet": default, **({"entries": entries} if entries else {})}
    return json.dumps({**document, "checksum": checksum(policy, default, entries)}, separators=(",", ":"))


def read(text: str, policy: str, path: str) -> tuple[frozenset[int], Assignments]:
    """The pool, and who has which CPUs. policy: in use now; path: of the file. Raises InvalidCpuState."""
    try:
        document = json.loads(text)
        found, default = document["policyName"], document.get("defaultCpuSet", "")
        entries: Entries = document.get("entries") or {}
        expected, given = checksum(found, default, entries), document["checksum"]
    except (ValueError, KeyError, TypeError, AttributeError) as failure:
        raise InvalidCpuState(f"{path}: {failure!r}") from failure
    # Written by kubelets before checksums were: 0.
    if given not in (0, expected):
        raise InvalidCpuState(f"{path}: checkpoint is corrupted: checksum: found {given}, expected {expected}")
    if found != policy:
        raise InvalidCpuState(
            f'configured policy "{policy}" differs from state checkpoint policy "{found}", please drain this node '
            f'and delete the CPU manager checkpoint file "{path}" before restarting Kubelet'
        )
    try:
        assigned = {
            (uid, container): read_cpus(cpus)
            for uid, containers in entries.items()
            for container, cpus in containers.items()
        }
        return read_cpus(default), assigned
    except ValueError as failure:
        raise InvalidCpuState(f"{path}: {failure}") from failure


def checksum(policy: str, default: str, entries: Entries) -> int:
    """Of a record."""
    pods = " ".join(
        f"{uid}:map[{' '.join(f'{name}:{cpus}' for name, cpus in sorted(containers.items()))}]"
        for uid, containers in sorted(entries.items())
    )
    printed = (
        f"(*state.CPUManagerCheckpoint){{PolicyName:(string){policy} DefaultCPUSet:(string){default} "
        f"Entries:(map[string]map[string]string)map[{pods}] Checksum:(checksum.Checksum)0}}"
    )
    value = _FNV_OFFSET
    for byte in printed.encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value
