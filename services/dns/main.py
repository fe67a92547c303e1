"""The DNS server's command line."""

import argparse
import os
import socket
from pathlib import Path
from random import SystemRandom

from navarch.services.base.clock import SystemClock
from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.dns.forward.upstreams import Upstream, of_resolv_conf, parse_upstream
from navarch.services.dns.service import Config, DnsService


def main(argv: list[str]) -> None:
    """Answer until told to stop."""
    config = config_of(argv)

    async def create() -> DnsService:
        return DnsService(config, SystemClock(), SystemRandom())

    run(create, "dns")


def config_of(argv: list[str]) -> Config:
    """The configuration that command-line arguments describe. Exits with a usage message."""
    parser = argparse.ArgumentParser(prog="navarch-dns", description=__doc__)
    parser.add_argument("--api-server", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--listen-dns", default="127.0.0.1:53", metavar="ADDR[,ADDR...]:PORT", help="UDP and TCP")
    parser.add_argument("--listen", default="127.0.0.1:9154", metavar="HOST:PORT", help="gRPC")
    parser.add_argument("--listen-metrics", default="", metavar="HOST:PORT", help="metrics and health over HTTP")
    parser.add_argument("--identity", default=f"{socket.gethostname()}_{os.getpid()}", help="unique among instances")
    parser.add_argument("--advertise-address", default="", metavar="ADDR", help="where Pods reach this instance")
    parser.add_argument("--node-name", default="", help="the node of that address")
    parser.add_argument(
        "--drain", type=float, default=2.0, metavar="SECONDS", help="to answer on after leaving the Service"
    )
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument("--cluster-domain", default="cluster.local")
    cluster.add_argument("--cluster-ip", action="append", default=[], help="of kube-dns; one an IP version")
    cluster.add_argument(
        "--cluster-cidr",
        type=_comma_separated,
        action="extend",
        default=[],
        metavar="CIDR[,CIDR]",
        help="of Pods or Services: its reverse names are not forwarded",
    )
    outside = parser.add_argument_group("other names")
    outside.add_argument("--upstream", action="append", default=[], metavar="ADDR[:PORT]", help="servers to ask")
    outside.add_argument(
        "--resolv-conf",
        type=Path,
        default=Path("/etc/resolv.conf"),
        metavar="PATH",
        help="has them, without --upstream",
    )
    outside.add_argument("--upstream-policy", choices=("random", "sequential"), default="random")
    outside.add_argument(
        "--serve-stale", type=float, default=0.0, metavar="SECONDS", help="how old a reply may be if none is to be had"
    )
    args = parser.parse_args(argv)
    try:
        upstreams = _upstreams(args.upstream, args.resolv_conf)
    except (OSError, ValueError) as failure:
        parser.error(str(failure))
    return Config(
        api_server=args.api_server,
        credentials=Credentials.load(args.ca, args.cert, args.key),
        listen_dns=args.listen_dns,
        listen=args.listen,
        listen_metrics=args.listen_metrics,
        domain=args.cluster_domain,
        cluster_ips=tuple(args.cluster_ip or ["10.96.0.10"]),
        cidrs=tuple(args.cluster_cidr),
        upstreams=upstreams,
        upstream_policy=args.upstream_policy,
        serve_stale_s=args.serve_stale,
        identity=args.identity,
        advertise_address=args.advertise_address,
        node_name=args.node_name,
        drain_s=args.drain,
    )


def _upstreams(given: list[str], resolv_conf: Path) -> tuple[Upstream, ...]:
    """Raises ValueError and OSError."""
    found = map(parse_upstream, given) if given else of_resolv_conf(resolv_conf.read_text())
    return tuple(dict.fromkeys(found))


def _comma_separated(text: str) -> list[str]:
    return text.split(",")
