"""The process of a cloud controller."""

import argparse
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.address_range import AddressRange
from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.cloud_controller.local.provider import NAME, LocalProvider
from navarch.services.cloud_controller.provider import Provider
from navarch.services.cloud_controller.remote import RemoteProvider
from navarch.services.cloud_controller.service import CloudController, Config


def main(argv: list[str]) -> None:
    """Work until a signal."""
    config = config_of(argv)

    async def factory() -> CloudController:
        return CloudController(config)

    run(factory, "cloud-controller")


def config_of(argv: list[str]) -> Config:
    """The configuration that command-line arguments describe. Exits with a usage message."""
    parser = argparse.ArgumentParser(prog="navarch-cloud-controller", description=__doc__)
    add = parser.add_argument
    add("--api-server", required=True, metavar="HOST:PORT")
    for name in ("ca", "cert", "key"):
        add(f"--{name}", type=Path, required=True)
    add("--listen", default="", metavar="HOST:PORT", help="serve health and metrics here (default: not at all)")
    add("--identity", default=socket.gethostname(), help="name in the Lease; stable and unique")
    add("--provider", default=NAME, metavar=f"{NAME}|unix:///PATH|HOST:PORT", help="who knows the cloud")
    add("--cluster-name", default="kubernetes", help="told to the provider")
    add("--cluster-cidr", default="", metavar="CIDR[,CIDR]", help="Pod network, for routes (default: none are made)")
    add(
        "--load-balancer-pool",
        type=_range,
        action="append",
        default=[],
        metavar="CIDR|FIRST-LAST",
        help=f"addresses that provider {NAME} gives (default: the nodes' own)",
    )
    args = parser.parse_args(argv)
    if args.load_balancer_pool and args.provider != NAME:
        parser.error(f"--load-balancer-pool is for --provider {NAME}, not {args.provider}")

    def provider(services: Callable[[], Iterable[corev1.Service]]) -> Provider:
        if args.provider == NAME:
            return LocalProvider(args.load_balancer_pool, services)
        return RemoteProvider(args.provider, args.cluster_name)

    return Config(
        api_server=args.api_server,
        credentials=Credentials.load(args.ca, args.cert, args.key),
        provider=provider,
        identity=args.identity,
        listen=args.listen,
        cluster_cidrs=tuple(filter(None, args.cluster_cidr.split(","))),
    )


def _range(text: str) -> AddressRange:
    try:
        return AddressRange.parse(text)
    except ValueError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
