"""The Service proxy's command line."""

import argparse
import asyncio
import sys
from pathlib import Path

from navarch.services.base.clock import SystemClock
from navarch.services.base.credentials import Credentials
from navarch.services.base.process import run
from navarch.services.proxy.families import Family, networks
from navarch.services.proxy.nft import NftError
from navarch.services.proxy.service import PRIMARY, Config, Proxy, tear_down


def main(argv: list[str]) -> None:
    """Keep the node's Service rules until told to stop; with --remove, take them away."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.remove:
        try:
            asyncio.run(tear_down([options.table]))
        except NftError as failure:
            sys.exit(f"cannot remove table {options.table}: {failure}")
        return
    for name in ("api_server", "node_name", "ca", "cert", "key"):
        if getattr(options, name) is None:
            parser.error(f"--{name.replace('_', '-')} is required")
    for flag in ("cluster_cidr", "service_cidr", "nodeport_addresses"):
        for family in Family:
            try:
                networks([cidr for cidr in getattr(options, flag) if cidr != PRIMARY], family)
            except ValueError as failure:
                parser.error(f"--{flag.replace('_', '-')}: {failure}")

    async def create() -> Proxy:
        config = Config(
            api_server=options.api_server,
            credentials=Credentials.load(options.ca, options.cert, options.key),
            node_name=options.node_name,
            table=options.table,
            cluster_cidrs=tuple(options.cluster_cidr),
            service_cidrs=tuple(options.service_cidr),
            node_port_addresses=tuple(options.nodeport_addresses) or (PRIMARY,),
            listen=options.listen,
            healthz=options.healthz_bind_address,
        )
        return Proxy(config, SystemClock())

    run(create, "proxy")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="navarch-proxy", description=__doc__)
    parser.add_argument("--api-server", metavar="HOST:PORT")
    parser.add_argument("--node-name")
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--table", default="navarch-proxy", help="name of the nftables table")
    parser.add_argument(
        "--cluster-cidr",
        type=_comma_separated,
        action="extend",
        default=[],
        metavar="CIDR[,CIDR]",
        help="of Pods: who comes from elsewhere to a cluster IP is masqueraded",
    )
    parser.add_argument(
        "--service-cidr",
        type=_comma_separated,
        action="extend",
        default=[],
        metavar="CIDR[,CIDR]",
        help="whose free addresses are refused, beside those of the ServiceCIDR objects",
    )
    parser.add_argument(
        "--nodeport-addresses",
        type=_comma_separated,
        action="extend",
        default=[],
        metavar="CIDR[,CIDR]",
        help=f"where node ports are open; {PRIMARY!r}, the default, is the Node's own address of each family",
    )
    parser.add_argument("--listen", default="127.0.0.1:10249", metavar="HOST:PORT", help="of gRPC; empty for none")
    parser.add_argument(
        "--healthz-bind-address",
        default="0.0.0.0:10256",
        metavar="HOST:PORT",
        help="of /healthz, /livez and /metrics; empty for none",
    )
    parser.add_argument("--remove", action="store_true", help="remove the table, then exit")
    return parser


def _comma_separated(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    main(sys.argv[1:])
