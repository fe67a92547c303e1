"""What this host has: whether it runs containers, which addresses are taken, where a cluster's files go."""

import ipaddress
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from navarch.cli.errors import UsageError


def default_data_dir() -> Path:
    """/var/lib/navarch as root, else below the user's data directory."""
    if os.geteuid() == 0:
        return Path("/var/lib/navarch")
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "navarch"


def default_runtime(endpoint: str | None) -> str:
    """What a user gets who names no runtime, only perhaps where one is."""
    if endpoint:
        return "cri"
    return "containerd" if can_run_containers() else "simulated"


def can_run_containers() -> bool:
    """Whether this user on this system can start real containers."""
    return sys.platform == "linux" and os.geteuid() == 0 and not missing_tools()


def missing_tools() -> list[str]:
    """The programs that real containers need and that are not here."""
    missing = [tool for tool in ("containerd", "runc", "nft", "containerd-shim-runc-v2") if not shutil.which(tool)]
    if not any((Path(folder) / "bridge").exists() for folder in ("/usr/lib/cni", "/opt/cni/bin")):
        missing.append("CNI plugins")
    return missing


def why_simulated() -> str:
    """One clause for the user on why containers are not real."""
    if sys.platform != "linux":
        return f"this is {platform.system()}, real containers need Linux"
    if os.geteuid() != 0:
        return "real containers need root"
    missing = missing_tools()
    return f"not installed: {', '.join(missing)}" if missing else "--runtime simulated was asked for"


def free_cidr(default: str, in_use: Iterable[ipaddress.IPv4Network], option: str) -> str:
    """The default, or the next /16 after it (above the middle of 10.0.0.0/8: before it) that overlaps none in use."""
    taken = list(in_use)
    first = ipaddress.IPv4Network(default).network_address.packed[1]
    for second in range(first, 128, -1) if first > 128 else range(first, 128):
        candidate = ipaddress.IPv4Network(f"10.{second}.0.0/16")
        if not any(candidate.overlaps(network) for network in taken):
            return str(candidate)
    raise UsageError(f"no 10.x.0.0/16 is free; name one with {option}")


def primary_address() -> str:
    """The address with which this host reaches others; "" if it has no way out. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # An address for documentation (RFC 5737): nobody's, so the default route decides.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def subnets_in_use() -> list[ipaddress.IPv4Network]:
    """The IPv4 routes of this host other than the default one."""
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except FileNotFoundError:
        return []
    networks = []
    for line in lines:
        fields = line.split()
        address, mask = (ipaddress.IPv4Address(int(fields[i], 16).to_bytes(4, "little")) for i in (1, 7))
        if int(mask):
            networks.append(ipaddress.IPv4Network(f"{address}/{mask}", strict=False))
    return networks
