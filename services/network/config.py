"""What the network service is told."""

from dataclasses import dataclass, field
from pathlib import Path

from navarch.services.base.tls import Credentials
from navarch.services.network.encryption import NONE
from navarch.services.network.kernel import CIDR
from navarch.services.network.planner import Settings
from navarch.services.network.wireguard import Setup

DEFAULT_KEY_FILE = Path("/var/lib/navarch/wireguard.key")
AUTO, ALWAYS = "auto", "always"


@dataclass(frozen=True, slots=True)
class Config:
    """settings: of the plan. table: of nftables. manage: AUTO gives way to another network's CNI configuration.

    api_server, credentials, node_name: whose node; without an API server `pod_cidrs` are the node's, and there are no
    other nodes. runtime_endpoint: of CRI, to have dead Pods' addresses given back; "" for not. listen: of gRPC.
    listen_metrics: of plain HTTP. "" to serve neither. wireguard: if that is the encryption.
    """

    settings: Settings
    cni_conf_dir: Path
    table: str
    pod_cidrs: tuple[CIDR, ...] = ()
    api_server: str = ""
    credentials: Credentials | None = None
    node_name: str = ""
    manage: str = AUTO
    encryption: str = NONE
    wireguard: Setup = field(default=Setup(DEFAULT_KEY_FILE))
    runtime_endpoint: str = ""
    listen: str = ""
    listen_metrics: str = ""
    address_grace_s: float = field(default=120.0)
