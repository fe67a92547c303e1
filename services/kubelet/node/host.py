"""Reads the host: /proc, /sys, os-release and the file system."""

import os
import platform
import socket
from dataclasses import dataclass, field
from pathlib import Path

from navarch.services.kubelet.core.cpu_lists import read_cpus
from navarch.services.kubelet.core.cpu_topology import Cpu, Topology
from navarch.services.kubelet.core.references import HostDns
from navarch.services.kubelet.node.memory import meminfo, memory_available

MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Host:
    """What does not change while the host runs."""

    cpus: int
    memory_bytes: int
    hugepages: dict[str, int] = field(default_factory=dict)
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    architecture: str = ""
    swap_bytes: int = 0
    apparmor: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What is left of the host at a moment."""

    memory_available_bytes: int
    disk_bytes: int
    disk_available_bytes: int
    inodes: int
    inodes_free: int
    processes: int
    processes_max: int


def read_host() -> Host:
    """Look at the host once."""
    memory = meminfo()
    return Host(
        cpus=os.cpu_count() or 1,
        memory_bytes=memory["MemTotal"],
        hugepages=_hugepages(),
        machine_id=_text("/etc/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel_version=platform.release(),
        os_image=_os_name(),
        architecture=MACHINES.get(platform.machine(), platform.machine()),
        swap_bytes=memory.get("SwapTotal", 0),
        apparmor=_text("/sys/module/apparmor/parameters/enabled").startswith("Y")
        and Path("/sys/kernel/security/apparmor").exists(),
    )


def read_load(root: Path) -> Load:
    """Look at the load. root: on the file system that holds the Pods' files."""
    disk = os.statvfs(root)
    return Load(
        memory_available_bytes=memory_available(),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        disk_available_bytes=disk.f_bavail * disk.f_frsize,
        inodes=disk.f_files,
        inodes_free=disk.f_favail,
        processes=int((_text("/proc/loadavg").split() or ["0/0"] * 4)[3].partition("/")[2] or 0),
        processes_max=min(int(_text(f"/proc/sys/kernel/{name}") or 0) for name in ("pid_max", "threads-max")),
    )


def read_cpu_ns() -> int:
    """What all CPUs have worked since the host booted."""
    # user nice system idle iowait irq softirq steal, in hundredths of a second
    ticks = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) * 10_000_000


def read_dns(path: str = "/etc/resolv.conf") -> HostDns:
    """The host's resolver configuration."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in _text(path).splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver":
            servers += values[:1]
        elif word in ("search", "domain"):
            # With or without its last dot it is one domain.
            searches = [value.removesuffix(".") or "." for value in values]
        elif word == "options":
            options = values
    return HostDns(tuple(servers), tuple(searches), tuple(options))


def default_address() -> str:
    """The address from which this host reaches others; loopback for a host without a way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only chooses the route.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _hugepages() -> dict[str, int]:
    found: dict[str, int] = {}
    base = Path("/sys/kernel/mm/hugepages")
    for directory in base.iterdir() if base.is_dir() else ():
        size_kib = int(directory.name.removeprefix("hugepages-").removesuffix("kB"))
        count = int(_text(str(directory / "nr_hugepages")) or 0)
        unit = f"{size_kib // 1024**2}Gi" if size_kib % 1024**2 == 0 else f"{size_kib // 1024}Mi"
        found[f"hugepages-{unit}"] = size_kib * 1024 * count
    return found


def _os_name() -> str:
    for line in _text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"


def read_topology(devices: Path = Path("/sys/devices/system/cpu")) -> Topology:
    """The CPUs that are online, and which of them belong together."""
    return Topology(_cpu(devices / f"cpu{id_}", id_) for id_ in sorted(read_cpus(_text(str(devices / "online")))))


def _cpu(folder: Path, id_: int) -> Cpu:
    siblings = _text(str(folder / "topology/core_cpus_list")) or _text(str(folder / "topology/thread_siblings_list"))
    numa_nodes = [int(one.name.removeprefix("node")) for one in folder.glob("node[0-9]*")]
    # On a virtual machine it may be -1: not known.
    socket_ = max(0, int(_text(str(folder / "topology/physical_package_id")) or 0))
    return Cpu(id_, min(read_cpus(siblings) or {id_}), socket_, min(numa_nodes, default=0))
