"""The process of a node's announcer."""

import argparse
import sys
from ipaddress import ip_address
from pathlib import Path

from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.cloud_controller.announcer.link import HolderLink, LinkRefused
from navarch.services.cloud_controller.announcer.service import Announcer, Config


def main(argv: list[str]) -> None:
    """Announce until a signal."""
    options = _parser().parse_args(argv)
    if options.remove:
        try:
            HolderLink(options.link, list(options.node_ip)).remove()
        except LinkRefused as failure:
            sys.exit(f"cannot remove link {options.link}: {failure}")
        return
    config = config_of(options)

    async def factory() -> Announcer:
        return Announcer(config)

    run(factory, "announcer")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="navarch-announcer", description=__doc__)
    add = parser.add_argument
    add("--api-server", required=True, metavar="HOST:PORT")
    for name in ("ca", "cert", "key"):
        add(f"--{name}", type=Path, required=True)
    add("--node-name", required=True)
    add("--node-ip", type=_addresses, required=True, metavar="ADDRESS[,ADDRESS]", help="of this node, on the link")
    add("--heartbeat-port", type=int, default=7946, help="of UDP, the same on all nodes")
    add("--heartbeat-key-file", type=Path, metavar="PATH", help="signs heartbeats; the same on all nodes")
    add("--link", default="navarch-lb", help="name of the bridge that holds the addresses")
    add("--remove", action="store_true", help="let go of all addresses, then exit")
    return parser


def config_of(args: argparse.Namespace) -> Config:
    """The configuration that command-line arguments describe."""
    return Config(
        api_server=args.api_server,
        credentials=Credentials.load(args.ca, args.cert, args.key),
        node_name=args.node_name,
        node_addresses=args.node_ip,
        port=args.heartbeat_port,
        link=args.link,
        key_file=args.heartbeat_key_file,
    )


def _addresses(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(one)) for one in text.split(","))
    except ValueError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from None


if __name__ == "__main__":
    main(sys.argv[1:])
