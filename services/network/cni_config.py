"""The CNI configuration that the runtime reads: one bridge for all Pods of the node.

Pods get addresses of the node's Pod CIDR and a default route through the bridge; host ports are mapped.
Masquerading is not CNI's here: it is one rule for the whole CIDR (see `masquerade`).
"""

import ipaddress
import json
import shutil
from pathlib import Path
from typing import Any

CNI_VERSION = "0.4.0"
NAME = "navarch"
BRIDGE_FILE = "10-navarch.conflist"
LOOPBACK_FILE = "99-loopback.conf"


def bridge_conflist(pod_cidr: str, bridge: str, data_dir: str) -> dict[str, Any]:
    """The network of a node. data_dir: where host-local notes the addresses it gave."""
    network = ipaddress.ip_network(pod_cidr)
    everywhere = "0.0.0.0/0" if network.version == 4 else "::/0"
    return {
        "cniVersion": CNI_VERSION,
        "name": NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": False,
                # A Pod reaches itself through its own Service.
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": data_dir,
                    "ranges": [[{"subnet": str(network)}]],
                    "routes": [{"dst": everywhere}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def loopback_conf() -> dict[str, Any]:
    """The loopback interface of each Pod."""
    return {"cniVersion": CNI_VERSION, "name": "lo", "type": "loopback"}


def write(directory: Path, pod_cidr: str, bridge: str) -> bool:
    """Have both files in the directory. Returns whether anything changed. A reader never sees half a file."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = [
        _write(directory / BRIDGE_FILE, bridge_conflist(pod_cidr, bridge, str(_addresses(directory)))),
        _write(directory / LOOPBACK_FILE, loopback_conf()),
    ]
    return any(changed)


def remove(directory: Path) -> None:
    """Take the files away, and the notes of addresses that no Pod has any more. Idempotent."""
    shutil.rmtree(_addresses(directory), ignore_errors=True)
    for name in (BRIDGE_FILE, LOOPBACK_FILE):
        (directory / name).unlink(missing_ok=True)


def _addresses(directory: Path) -> Path:
    return directory.parent / "cni-addresses"


def _write(path: Path, content: dict[str, Any]) -> bool:
    text = json.dumps(content, indent=2) + "\n"
    if path.exists() and path.read_text() == text:
        return False
    staged = path.with_name(f".{path.name}.new")
    staged.write_text(text)
    staged.replace(path)
    return True
