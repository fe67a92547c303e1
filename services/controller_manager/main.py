"""The process of a controller manager."""

import argparse
import socket
from pathlib import Path

from navarch.services.base.process import run
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.controller_manager.certificates.signing import DEFAULT_DURATION_S, Signing
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
    parser.add_argument("--cluster-cidr", default="10.244.0.0/16", help="Pod addresses; one range an IP version")
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
    return Config(
        api_server=args.api_server,
        credentials=Credentials.load(args.ca, args.cert, args.key),
        listen=args.listen,
        identity=args.identity,
        cluster_cidrs=tuple(args.cluster_cidr.split(",")),
        node_monitor_grace_s=args.node_monitor_grace,
        node_startup_grace_s=args.node_startup_grace,
        signing=_signing(args) if args.cluster_signing_cert_file else None,
        approve_kubelet_serving=args.approve_kubelet_serving,
    )


def _signing(args: argparse.Namespace) -> Signing:
    pair = args.cluster_signing_cert_file.read_bytes(), args.cluster_signing_key_file.read_bytes()
    return Signing(CertificateAuthority.load(*pair), args.cluster_signing_duration)
