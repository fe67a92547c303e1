"""The process of an API server."""

import argparse
import ipaddress
from pathlib import Path

from navarch.services.apiserver.auth.tokens import ISSUER, TokenConfig
from navarch.services.apiserver.doors.rest.server import CONNECTIONS
from navarch.services.apiserver.service import ApiServer, Config
from navarch.services.apiserver.workers import SHARED, Workers
from navarch.services.base.process import run
from navarch.services.base.tls import Credentials

MAX_WORKERS = 64


def main(argv: list[str]) -> None:
    """Serve until a signal."""
    workers, argv = workers_of(argv)
    config = config_of(argv)

    async def factory() -> ApiServer | Workers:
        return ApiServer(config) if workers == 1 else Workers(argv, workers)

    run(factory, "apiserver")


def workers_of(argv: list[str]) -> tuple[int, list[str]]:
    """How many processes are to serve, and the other arguments. Exits with a usage message."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--workers", type=int, default=1)
    known, rest = parser.parse_known_args(argv)
    if not 1 <= known.workers <= MAX_WORKERS:
        parser.error(f"--workers {known.workers}: accepted are 1 to {MAX_WORKERS}")
    return known.workers, rest


def config_of(argv: list[str]) -> Config:
    """The configuration that command-line arguments describe. Exits with a usage message."""
    parser = argparse.ArgumentParser(prog="navarch-apiserver", description=__doc__)
    parser.add_argument("--store-endpoints", required=True, help="comma-separated host:port of the store or of etcd")
    parser.add_argument("--ca", type=Path, required=True, help="authority that signs clients")
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--store-{name}", type=Path, help=f"{name} towards store and kubelets (default: --{name})")
    parser.add_argument("--listen", default="127.0.0.1:7443", metavar="HOST:PORT")
    parser.add_argument("--rest-listen", default="127.0.0.1:6443", metavar="HOST:PORT", help="the Kubernetes door")
    parser.add_argument(
        "--rest-connections",
        type=positive,
        default=CONNECTIONS,
        help="open there at a time, a worker (default: %(default)s)",
    )
    parser.add_argument("--advertise-address", default="127.0.0.1")
    parser.add_argument(
        "--service-cidr",
        type=service_cidrs,
        default=("10.96.0.0/16",),
        metavar="CIDR[,CIDR]",
        help="addresses of Services: one block, or one of each family, the primary one first (default: 10.96.0.0/16)",
    )
    parser.add_argument("--node-port-range", type=port_range, default=range(30000, 32768), metavar="LOW-HIGH")
    parser.add_argument("--workers", type=int, help="processes that serve on the same ports (default: 1)")
    parser.add_argument(SHARED, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--history", type=float, default=300.0, help="seconds to keep old revisions; 0: for ever")
    parser.add_argument("--service-account-key-file", type=Path, help="private key that signs service account tokens")
    parser.add_argument(
        "--service-account-verification-key-file",
        type=Path,
        action="append",
        default=[],
        help="a further key whose tokens are accepted; may be repeated",
    )
    parser.add_argument("--service-account-issuer", default=ISSUER)
    parser.add_argument("--api-audiences", default="", help="comma-separated; default: the issuer")
    parser.add_argument(
        "--service-account-max-token-expiration", type=int, default=0, metavar="SECONDS", help="0: no limit"
    )
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--proxy-{name}", type=Path, help=f"{name} towards extension servers (default: --{name})")
    args = parser.parse_args(argv)
    proxy = (args.proxy_ca or args.ca, args.proxy_cert or args.cert, args.proxy_key or args.key)
    store = (args.store_ca or args.ca, args.store_cert or args.cert, args.store_key or args.key)
    return Config(
        store_endpoints=tuple(args.store_endpoints.split(",")),
        credentials=Credentials.load(args.ca, args.cert, args.key),
        store_credentials=Credentials.load(*store),
        listen=args.listen,
        rest_listen=args.rest_listen,
        rest_connections=args.rest_connections,
        share_ports=args.share_ports,
        advertise_address=args.advertise_address,
        service_cidrs=args.service_cidr,
        history_s=args.history,
        node_ports=args.node_port_range,
        proxy_credentials=Credentials.load(*proxy),
        tokens=TokenConfig(
            args.service_account_key_file.read_bytes() if args.service_account_key_file else b"",
            tuple(path.read_bytes() for path in args.service_account_verification_key_file),
            args.service_account_issuer,
            tuple(filter(None, args.api_audiences.split(","))),
            args.service_account_max_token_expiration,
        ),
    )


def service_cidrs(text: str) -> tuple[str, ...]:
    """Blocks of addresses, "10.96.0.0/16,fd00:96::/108"."""
    blocks = tuple(text.split(","))
    try:
        versions = [ipaddress.ip_network(block).version for block in blocks]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    if len(blocks) > 2 or len(set(versions)) < len(blocks):
        raise argparse.ArgumentTypeError(f"{text!r}: accepted are one block, or one of IPv4 and one of IPv6")
    return blocks


def positive(text: str) -> int:
    """A number above 0."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def port_range(text: str) -> range:
    """A range of ports, "30000-32767"."""
    low, _, high = text.partition("-")
    if not (low.isdigit() and high.isdigit() and 0 < int(low) <= int(high) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of ports such as 30000-32767")
    return range(int(low), int(high) + 1)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
