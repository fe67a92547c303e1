"""The store's process."""

import argparse
import os
import sys
from pathlib import Path

from navarch.services.base.process import Service, run
from navarch.services.base.tls import Credentials
from navarch.services.store.config import DEFAULT_QUOTA_BYTES, Config
from navarch.services.store.flags import cluster, urls
from navarch.services.store.service import StoreService

# The journal's thread needs the interpreter a few times per flush; by default a busy loop lets go after 5 ms.
SWITCH_INTERVAL_S = 0.0005


def parse(argv: list[str]) -> Config:
    """The configuration that a command line asks for. Exits on a bad one."""
    parser = _parser()
    options = parser.parse_args(argv)
    files = _files(parser, options, "")
    if options.listen_client and not files:
        parser.error("--listen-client needs --ca, --cert and --key")
    if not options.listen_client and not options.listen_insecure:
        parser.error("give --listen-client or --listen-insecure")
    secure = bool(options.listen_client)
    own = Credentials.load(*files) if files else None
    peer_files = _files(parser, options, "peer_")
    return Config(
        data_dir=options.data_dir,
        listen=options.listen_client or options.listen_insecure,
        credentials=own if secure else None,
        listen_insecure=options.listen_insecure or "" if secure else "",
        name=options.name,
        quota_bytes=options.quota_bytes or DEFAULT_QUOTA_BYTES,
        auto_compaction_mode=options.auto_compaction_mode,
        auto_compaction_retention=options.auto_compaction_retention,
        listen_peer=options.listen_peer,
        peer_credentials=Credentials.load(*peer_files) if peer_files else own,
        initial_cluster=options.initial_cluster,
        initial_existing=options.initial_cluster_state == "existing",
        initial_token=options.initial_cluster_token,
        advertise_peer=options.initial_advertise_peer_urls,
        advertise_client=options.advertise_client_urls,
        listen_metrics=options.listen_metrics,
        corrupt_check_interval_s=options.corrupt_check_interval,
        initial_corrupt_check=options.initial_corrupt_check,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="navarch-store", description="One member of the cluster store (etcd v3).")
    parser.add_argument("--name", default="default", help="what the member is called")
    parser.add_argument("--data-dir", type=Path, required=True, help="where journal and data are kept")
    clients = parser.add_argument_group("clients")
    clients.add_argument("--listen-client", metavar="HOST:PORT", help="serve with mutual TLS here")
    clients.add_argument("--ca", type=Path, help="the authority that clients are checked against")
    clients.add_argument("--cert", type=Path, help="this member's certificate")
    clients.add_argument("--key", type=Path, help="its key")
    clients.add_argument("--listen-insecure", metavar="HOST:PORT", help="serve in plain text here")
    clients.add_argument("--advertise-client-urls", type=urls, default=(), metavar="URL,...", help="what to tell them")
    clients.add_argument("--listen-metrics", default="", metavar="HOST:PORT", help="serve metrics in plain HTTP here")
    peers = parser.add_argument_group("other members")
    peers.add_argument("--listen-peer", default="", metavar="HOST:PORT", help="serve the other members here")
    peers.add_argument("--peer-ca", type=Path, help="the authority that they are checked against; --ca by default")
    peers.add_argument("--peer-cert", type=Path, help="this member's certificate among them; --cert by default")
    peers.add_argument("--peer-key", type=Path, help="its key; --key by default")
    peers.add_argument("--initial-advertise-peer-urls", type=urls, default=(), metavar="URL,...", help="what they dial")
    peers.add_argument("--initial-cluster", type=cluster, default={}, metavar="NAME=URL,...", help="the first members")
    peers.add_argument("--initial-cluster-state", choices=("new", "existing"), default="new")
    peers.add_argument("--initial-cluster-token", default="", help="keeps clusters apart that are otherwise alike")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--quota-bytes", type=int, default=DEFAULT_QUOTA_BYTES, help="refuse to grow beyond this; 0: 2 GiB"
    )
    data.add_argument("--auto-compaction-mode", choices=("periodic", "revision"), default="periodic")
    data.add_argument(
        "--auto-compaction-retention", type=int, default=0, help="seconds or revisions to keep; 0 keeps all"
    )
    data.add_argument(
        "--corrupt-check-interval", type=float, default=0, help="compare members so often, in seconds; 0: never"
    )
    data.add_argument(
        "--initial-corrupt-check", action="store_true", help="compare the data with the other members' before serving"
    )
    return parser


def _files(parser: argparse.ArgumentParser, options: argparse.Namespace, prefix: str) -> list[Path]:
    """Authority, certificate and key, or nothing."""
    files = [getattr(options, f"{prefix}{name}") for name in ("ca", "cert", "key")]
    if prefix and any(files) and not all(files):
        parser.error("--peer-ca, --peer-cert and --peer-key go together")
    return files if all(files) else []


def main(argv: list[str]) -> None:
    """Run a member until it is told to stop."""
    config = parse(argv)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # The journal holds secrets, and the data directory may have been there before, for all to read.
    os.umask(0o077)

    async def make() -> Service:
        return StoreService(config)

    run(make, "store")


if __name__ == "__main__":
    main(sys.argv[1:])
