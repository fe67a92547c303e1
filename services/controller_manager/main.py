"""The process of a controller manager."""

import argparse
import socket
from pathlib import Path

from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
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
    args = parser.parse_args(argv)
    return Config(
        api_server=args.api_server,
        credentials=Credentials.load(args.ca, args.cert, args.key),
        listen=args.listen,
        identity=args.identity,
        cluster_cidrs=tuple(args.cluster_cidr.split(",")),
        node_monitor_grace_s=args.node_monitor_grace,
        node_startup_grace_s=args.node_startup_grace,
    )
