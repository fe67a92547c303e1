"""The network service's command line."""

import argparse
import asyncio
import sys
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.network import encryption, planner, wireguard_key
from navarch.services.network.config import ALWAYS, AUTO, DEFAULT_KEY_FILE, Config
from navarch.services.network.encryption import MODES, NONE
from navarch.services.network.forward_policy import IptablesError
from navarch.services.network.host import hold_back, tear_down
from navarch.services.network.kernel import CIDR
from navarch.services.network.masquerade import NftError
from navarch.services.network.netlink import KernelRefused
from navarch.services.network.planner import LONGEST_DEVICE_NAME, Settings
from navarch.services.network.service import Network
from navarch.services.network.wireguard import Setup

# Less the suffix of the tunnel devices, "-x4" or "-wg".
LONGEST_BRIDGE_NAME = LONGEST_DEVICE_NAME - 3


def cidr(text: str) -> CIDR:
    """A range of addresses. Raises ArgumentTypeError."""
    try:
        return ip_network(text)
    except ValueError as failure:
        raise argparse.ArgumentTypeError(f"{text!r} is no CIDR: {failure}") from None


def cidrs(text: str) -> tuple[CIDR, ...]:
    """One range, or one of each IP version with a comma between."""
    return tuple(map(cidr, filter(None, text.split(","))))


def bridge_name(text: str) -> str:
    """A name for a link, short enough for those that are made from it."""
    if not text or len(text) > LONGEST_BRIDGE_NAME or "/" in text or any(character.isspace() for character in text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name for a bridge: 1 to {LONGEST_BRIDGE_NAME} characters")
    return text


def vni(text: str) -> int:
    """A VXLAN network identifier, 24 bits."""
    if not text.isdigit() or not 0 < int(text) < 1 << 24:
        raise argparse.ArgumentTypeError(f"{text!r} is no VXLAN network identifier: 1 to {(1 << 24) - 1}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="navarch-network", description=__doc__, allow_abbrev=False)
    add = options.add_argument
    add("--api-server", default="", metavar="HOST:PORT", help="without, --pod-cidr is all there is")
    add("--node-name", default="", help="of this node, in the cluster")
    for name in ("ca", "cert", "key"):
        add(f"--{name}", type=Path)
    add("--listen", default="", metavar="HOST:PORT", help="serve gRPC here (default: not at all)")
    add("--listen-metrics", default="", metavar="HOST:PORT", help="serve metrics and health in plain HTTP here")
    add("--pod-cidr", type=cidrs, default=(), metavar="CIDR[,CIDR]", help="of this node, without an API server")
    add("--cluster-cidr", type=cidrs, action="append", default=[], metavar="CIDR[,CIDR]", help="of all Pods")
    add("--service-cidr", type=cidrs, action="append", default=[], metavar="CIDR[,CIDR]", help="may not be Pods'")
    add("--bridge", type=bridge_name, default="navarch0", help=f"its name, at most {LONGEST_BRIDGE_NAME} characters")
    add("--cni-conf-dir", type=Path, required=True)
    add("--table", default="navarch", help="name of the nftables table")
    add("--vxlan-vni", type=vni, default=planner.DEFAULT_VNI, help="the same on all nodes")
    add("--vxlan-port", type=int, default=planner.DEFAULT_VXLAN_PORT, help="of UDP, the same on all nodes; IANA: 4789")
    add("--mtu", type=int, default=0, help="of Pods (default: what fits into VXLAN on the link to other nodes)")
    add(
        "--manage",
        choices=(AUTO, ALWAYS),
        default=AUTO,
        help="auto: leave all to another network whose CNI configuration comes first",
    )
    add("--encryption", choices=MODES, default=NONE, help="of what Pods of different nodes say, the same on all nodes")
    add("--wireguard-port", type=int, default=planner.DEFAULT_WIREGUARD_PORT, help="of UDP, the same on all nodes")
    add("--wireguard-key-file", type=Path, default=DEFAULT_KEY_FILE, metavar="PATH", help="is made if it is not there")
    add(
        "--wireguard-program",
        default="",
        metavar="wireguard-go",
        help="makes the device in user space, where the kernel has no WireGuard (default: then it is refused)",
    )
    add("--runtime-endpoint", default="", metavar="unix:///PATH", help="to give back addresses of Pods that it lost")
    add("--address-grace", type=float, default=120.0, metavar="SECONDS", help="for which it must have lost them")
    add("--remove", action="store_true", help="remove routes, devices, bridge, table and files, then exit")
    return options


def read(argv: list[str]) -> tuple[Config, bool]:
    """What is asked for, and whether it is only to remove. Ends the process when it makes no sense."""
    known = parser()
    options = known.parse_args(argv)
    if options.api_server and not (options.node_name and options.ca and options.cert and options.key):
        known.error("--api-server needs --node-name, --ca, --cert and --key")
    if not options.api_server and not options.pod_cidr and not options.remove:
        known.error("one of --api-server and --pod-cidr is required")
    if options.listen and not options.key:
        known.error("--listen needs --ca, --cert and --key")
    if options.encryption != NONE and not options.cluster_cidr and not options.remove:
        known.error(
            f"--encryption={options.encryption} needs --cluster-cidr: what is for Pods must be known to be held back"
        )
    settings = Settings(
        options.bridge,
        options.vxlan_vni,
        options.vxlan_port,
        tuple(one for given in options.cluster_cidr for one in given),
        tuple(one for given in options.service_cidr for one in given),
        options.mtu,
        options.wireguard_port,
    )
    has_identity = options.key is not None and not options.remove
    credentials = Credentials.load(options.ca, options.cert, options.key) if has_identity else None
    config = Config(
        settings,
        options.cni_conf_dir,
        options.table,
        pod_cidrs=options.pod_cidr,
        api_server=options.api_server,
        credentials=credentials,
        node_name=options.node_name,
        manage=options.manage,
        encryption=options.encryption,
        wireguard=Setup(options.wireguard_key_file, options.wireguard_program),
        runtime_endpoint=options.runtime_endpoint,
        listen=options.listen,
        listen_metrics=options.listen_metrics,
        address_grace_s=options.address_grace,
    )
    return config, options.remove


def _with_key(config: Config) -> Config:
    """With this node's public key, if there is to be encryption.

    Raises EncryptionUnavailable, BadKey, KernelRefused and OSError.
    """
    if config.encryption == NONE:
        return config
    # First of all: a refusal lets nothing out, either.
    hold_back(config)
    encryption.check(config.wireguard.program)
    public_key = wireguard_key.ensure(config.wireguard.key_file)
    return replace(config, settings=replace(config.settings, public_key=public_key))


def main(argv: list[str]) -> None:
    """Keep the node's network until told to stop; with --remove, take it away."""
    config, is_removal = read(argv)
    if is_removal:
        try:
            asyncio.run(tear_down(config))
        except (NftError, IptablesError, KernelRefused, OSError) as failure:
            sys.exit(f"cannot remove the network: {failure}")
        return
    try:
        config = _with_key(config)
    except (encryption.EncryptionUnavailable, wireguard_key.BadKey, KernelRefused, OSError) as refusal:
        sys.exit(f"navarch-network: {refusal}")

    async def create() -> Network:
        return Network(config)

    run(create, "network")


if __name__ == "__main__":
    main(sys.argv[1:])
