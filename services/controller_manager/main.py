"""The process of a controller manager."""

import argparse
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from navarch.services.base.process import run
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.controller_manager.certificates.signing import DEFAULT_DURATION_S, Signing
from navarch.services.controller_manager.endpointslice.plan import SLICE_LIMIT
from navarch.services.controller_manager.endpointslice_mirroring.plan import SUBSET_LIMIT
from navarch.services.controller_manager.node_ipam.plan import NODE_PREFIX, ranges_of
from navarch.services.controller_manager.service import Config, ControllerManager


def main(argv: list[str]) -> None:
    """Work until a signal."""
    config = config_of(argv)

    async def factory() -> ControllerManager:
        return ControllerManager(config)

    run(factory, "controller-manager")


def config_of(argv: list[str]) -> Config:
    """The configuration that command-line arguments describe. Exits with a usage message."""
    parser = argparse.ArgumentParser(prog="navarch-controller-manager", description=__doc__)
    parser.add_argument("--api-server", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:10257", metavar="HOST:PORT")
    parser.add_argument("--identity", default=socket.gethostname(), help="name in the Lease; stable and unique")
    _add_network(parser)
    parser.add_argument("--node-monitor-grace", type=float, default=40.0, metavar="SECONDS")
    parser.add_argument("--node-startup-grace", type=float, default=60.0, metavar="SECONDS")
    signing = parser.add_argument_group("certificates", "answers to CertificateSigningRequests; none without the files")
    signing.add_argument("--cluster-signing-cert-file", type=Path, metavar="PATH", help="of the certificate authority")
    signing.add_argument("--cluster-signing-key-file", type=Path, metavar="PATH")
    signing.add_argument("--cluster-signing-duration", type=float, default=DEFAULT_DURATION_S, metavar="SECONDS")
    signing.add_argument("--approve-kubelet-serving", action="store_true", help="for the addresses of their Nodes")
    args = parser.parse_args(argv)
    if bool(args.cluster_signing_cert_file) != bool(args.cluster_signing_key_file):
        parser.error("--cluster-signing-cert-file and --cluster-signing-key-file need each other")
    prefixes = {4: args.node_cidr_mask_size_ipv4, 6: args.node_cidr_mask_size_ipv6}
    try:
        ranges_of(args.cluster_cidr, prefixes)
    except ValueError as failure:
        parser.error(f"--cluster-cidr: {failure}")
    return Config(
        api_server=args.api_server,
        credentials=Credentials.load(args.ca, args.cert, args.key),
        listen=args.listen,
        identity=args.identity,
        cluster_cidrs=args.cluster_cidr,
        node_prefixes=prefixes,
        service_cidrs=args.service_cluster_ip_range,
        slice_limit=args.max_endpoints_per_slice,
        mirrored_subset_limit=args.mirroring_max_endpoints_per_subset,
        node_monitor_grace_s=args.node_monitor_grace,
        node_startup_grace_s=args.node_startup_grace,
        signing=_signing(args) if args.cluster_signing_cert_file else None,
        approve_kubelet_serving=args.approve_kubelet_serving,
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("network").add_argument
    add("--cluster-cidr", type=_cidrs, default="10.244.0.0/16", metavar="CIDR[,CIDR]", help="Pod addresses")
    add("--service-cluster-ip-range", type=_cidrs, default="", metavar="CIDR[,CIDR]", help="which no Node gets")
    add("--node-cidr-mask-size-ipv4", type=_between(1, 32), default=NODE_PREFIX[4], help="of a Node's Pod addresses")
    add("--node-cidr-mask-size-ipv6", type=_between(1, 128), default=NODE_PREFIX[6])
    add("--max-endpoints-per-slice", type=_between(1, 1000), default=SLICE_LIMIT)
    add("--mirroring-max-endpoints-per-subset", type=_between(1, 1000), default=SUBSET_LIMIT)


def _cidrs(text: str) -> tuple[str, ...]:
    parts = tuple(filter(None, text.split(",")))
    for part in parts:
        try:
            ip_network(part)
        except ValueError as failure:
            raise argparse.ArgumentTypeError(str(failure)) from None
    return parts


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {low} to {high}")
        return int(text)

    return number


def _signing(args: argparse.Namespace) -> Signing:
    pair = args.cluster_signing_cert_file.read_bytes(), args.cluster_signing_key_file.read_bytes()
    return Signing(CertificateAuthority.load(*pair), args.cluster_signing_duration)
