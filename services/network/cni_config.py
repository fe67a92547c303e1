"""The CNI configuration that the runtime reads: one bridge for all Pods of the node.

Pods get an address of each of the node's Pod CIDRs and a default route through the bridge; host ports are mapped and
bandwidths limited where a Pod asks for it. Masquerading is not CNI's here: it is one rule for all (see `masquerade`).

Runtimes take the configuration that is first by name. One that somebody puts before ours is left its place.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from navarch.services.network.kernel import CIDR

# The newest that the plugins of Debian 12 (containernetworking-plugins 1.1.1) speak.
CNI_VERSION = "1.0.0"
NAME = "navarch"
BRIDGE_FILE = "10-navarch.conflist"
LOOPBACK_FILE = "99-loopback.conf"
SUFFIXES = (".conflist", ".conf", ".json")


def bridge_conflist(pods: Sequence[CIDR], bridge: str, data_dir: str, mtu: int = 0) -> dict[str, Any]:
    """The network of a node. data_dir: where host-local notes the addresses it gave. mtu: 0 for the kernel's."""
    versions = [cidr.version for cidr in pods]
    everywhere = [{"dst": "0.0.0.0/0" if version == 4 else "::/0"} for version in versions]
    return {
        "cniVersion": CNI_VERSION,
        "name": NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                # A node whose Pod CIDR is another than before gives the bridge its new address.
                "forceAddress": True,
                "ipMasq": False,
                # A Pod reaches itself through its own Service.
                "hairpinMode": True,
                **({"mtu": mtu} if mtu else {}),
                "ipam": {
                    "type": "host-local",
                    "dataDir": data_dir,
                    "ranges": [[{"subnet": str(cidr)}] for cidr in pods],
                    "routes": everywhere,
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ],
    }


def loopback_conf() -> dict[str, Any]:
    """The loopback interface of each Pod."""
    return {"cniVersion": CNI_VERSION, "name": "lo", "type": "loopback"}


def foreign_config(directory: Path) -> str:
    """The name of another network's configuration that comes before ours; "" where there is none."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIXES))
    except FileNotFoundError:
        return ""
    return names[0] if names and names[0] < BRIDGE_FILE else ""


def write(directory: Path, pods: Sequence[CIDR], bridge: str, mtu: int = 0) -> bool:
    """Have both files in the directory. Returns whether anything changed. A reader never sees half a file."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = [
        _write(directory / BRIDGE_FILE, bridge_conflist(pods, bridge, str(addresses_dir(directory)), mtu)),
        _write(directory / LOOPBACK_FILE, loopback_conf()),
    ]
    return any(changed)


def withdraw(directory: Path) -> bool:
    """Take the files away, so that no Pod is given an address any more. Returns whether one was there."""
    found = [directory / name for name in (BRIDGE_FILE, LOOPBACK_FILE) if (directory / name).exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return bool(found)


def remove(directory: Path) -> None:
    """Take the files away, and the notes of addresses that no Pod has any more. Idempotent."""
    shutil.rmtree(addresses_dir(directory), ignore_errors=True)
    withdraw(directory)


def addresses_dir(directory: Path) -> Path:
    """Where host-local notes addresses: beside the configuration, in a folder for each network."""
    return directory.parent / "cni-addresses"


def _write(path: Path, content: dict[str, Any]) -> bool:
    text = json.dumps(content, indent=2) + "\n"
    if path.exists() and path.read_text() == text:
        return False
    staged = path.with_name(f".{path.name}.new")
    staged.write_text(text)
    staged.replace(path)
    return True
