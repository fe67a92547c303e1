"""What a runtime has on a host, as facts that can be compared: after a test nothing may be there that was not before.

Only what belongs to one containerd and its shim is looked at, by its data directory, control group and bridge: other
things happen on the host meanwhile.
"""

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from navarch.runtime_shim.containerd.leftovers import keeper_processes
from navarch.testing.private_containerd import PLUGIN_NAMESPACE, SHIM_NAMESPACE, PrivateContainerd

CGROUPS = Path("/sys/fs/cgroup")
# Kept on purpose: what CNI's host-local remembers of the address that it gave last, and its lock.
IPAM_KEPT = ("last_reserved_ip", "lock")


@dataclass(frozen=True, slots=True)
class HostState:
    """Facts by kind."""

    facts: Mapping[str, frozenset[str]]

    def differences(self, before: "HostState") -> list[str]:
        """What has come and what has gone since."""
        found = []
        for kind, facts in self.facts.items():
            found += [f"{kind}: left behind: {fact}" for fact in sorted(facts - before.facts[kind])]
            found += [f"{kind}: missing: {fact}" for fact in sorted(before.facts[kind] - facts)]
        return found


def host_state(containerd: PrivateContainerd, side: str = "shim", *, others: Iterable[int] = ()) -> HostState:
    """The facts of now, about one of the runtimes. others: processes that are there on purpose."""
    keepers = list(keeper_processes(containerd.layout.shim_state))
    own = {str(process.pid) for process in containerd.processes} | set(map(str, [*keepers, *others]))
    bridge, namespace = containerd.bridge(side), SHIM_NAMESPACE if side == "shim" else PLUGIN_NAMESPACE
    return HostState(
        {
            "processes": frozenset(_processes(containerd, own)),
            # One is there while the shim is; which one is no matter.
            "log keepers": frozenset(map(str, range(len(keepers)))),
            "mounts": frozenset(_mounts(containerd)),
            "links": frozenset(_links(bridge)),
            "routes": frozenset(_routes(bridge)),
            "addresses": frozenset(_addresses(containerd.ipam_dir(side))),
            "filters": frozenset(_filters(bridge)),
            "control groups": frozenset(_cgroups(containerd)),
            "containers": frozenset(_ctr(containerd, namespace, "containers", "list", "--quiet")),
            "tasks": frozenset(_ctr(containerd, namespace, "tasks", "list", "--quiet")),
            "snapshots": frozenset(_ctr(containerd, namespace, "snapshots", "list")),
            "leases": frozenset(_ctr(containerd, namespace, "leases", "list", "--quiet")),
            "content": frozenset(_ctr(containerd, namespace, "content", "list", "--quiet")),
            "downloads": frozenset(line.split()[0] for line in _ctr(containerd, namespace, "content", "active")[1:]),
            "state": frozenset(files_below(containerd.layout.shim_state)),
            "bundles": frozenset(files_below(containerd.layout.state / "io.containerd.runtime.v2.task" / namespace)),
            "kept pipes": frozenset(_kept_pipes(keepers)),
        }
    )


def _processes(containerd: PrivateContainerd, own: set[str]) -> Iterator[str]:
    """Those that were started for this containerd, or are in a control group of its Pods."""
    marks = (str(containerd.data_dir), containerd.cgroup_root + "/")
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or folder.name in own or folder.name == str(os.getpid()):
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            groups = (folder / "cgroup").read_text()
        except OSError:
            continue  # It has just ended.
        if any(mark in command or mark in groups for mark in marks):
            yield f"{folder.name} {command}"


def _kept_pipes(keepers: list[int]) -> Iterator[str]:
    """Pipes of containers' output that a log keeper has open, also where they have been removed."""
    for keeper in keepers:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{keeper}/fd").iterdir():
                if stat.S_ISFIFO(entry.stat().st_mode):
                    yield os.readlink(entry)


def _mounts(containerd: PrivateContainerd) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(containerd.data_dir) in line:
            yield line.split(" ", 5)[4]


def _links(bridge: str) -> Iterator[str]:
    listed = subprocess.run(["ip", "-json", "link", "show"], check=True, capture_output=True).stdout
    for link in json.loads(listed):
        if link.get("master") == bridge:
            yield link["ifname"]


def _routes(bridge: str) -> Iterator[str]:
    """Whether a link has a carrier is no matter."""
    command = ["ip", "-4", "route", "show", "table", "all"]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        words = [word for word in line.split() if word != "linkdown"]
        if bridge in words:
            yield " ".join(words)


def _addresses(folder: Path) -> Iterator[str]:
    for path in files_below(folder):
        if Path(path).name not in IPAM_KEPT and not Path(path).name.startswith(IPAM_KEPT[0]):
            yield path


def _filters(bridge: str) -> Iterator[str]:
    """Rules that CNI's plugins made for a network: they name it in a comment."""
    for command in (["iptables-save"], ["nft", "list", "ruleset"]):
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        yield from (line.strip() for line in listed.splitlines() if bridge in line)


def _cgroups(containerd: PrivateContainerd) -> Iterator[str]:
    for root in (CGROUPS, *CGROUPS.iterdir()):
        top = root / containerd.cgroup_root.strip("/")
        if top.is_dir():
            # A walk takes it that groups go meanwhile.
            yield from (str(Path(folder, name)) for folder, names, _ in os.walk(top) for name in names)


def _ctr(containerd: PrivateContainerd, namespace: str, *command: str) -> list[str]:
    words = ["ctr", "--address", str(containerd.layout.socket), "--namespace", namespace, *command]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def files_below(folder: Path) -> Iterator[str]:
    """Folders and files, relative to it. What goes while we look is passed over."""
    for parent, folders, files in os.walk(folder):
        yield from (str(Path(parent, name).relative_to(folder)) for name in (*folders, *files))
