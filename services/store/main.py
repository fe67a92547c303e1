"""The store's process."""

import argparse
import sys
from pathlib import Path

from navarch.services.base.process import Service, run
from navarch.services.base.tls import Credentials
from navarch.services.store.config import DEFAULT_QUOTA_BYTES, Config
from navarch.services.store.service import StoreService

# The journal's thread needs the interpreter a few times per flush; by default a busy loop lets go after 5 ms.
SWITCH_INTERVAL_S = 0.0005


def parse(argv: list[str]) -> Config:
    """The configuration that a command line asks for. Exits on a bad one."""
    parser = argparse.ArgumentParser(prog="navarch-store", description="One member of the cluster store (etcd v3).")
    parser.add_argument("--name", default="default", help="what the member is called")
    parser.add_argument("--data-dir", type=Path, required=True, help="where journal and data are kept")
    parser.add_argument("--listen-client", metavar="HOST:PORT", help="serve with mutual TLS here")
    parser.add_argument("--ca", type=Path, help="the authority that clients are checked against")
    parser.add_argument("--cert", type=Path, help="this member's certificate")
    parser.add_argument("--key", type=Path, help="its key")
    parser.add_argument("--listen-insecure", metavar="HOST:PORT", help="serve in plain text here")
    parser.add_argument("--quota-bytes", type=int, default=DEFAULT_QUOTA_BYTES, help="refuse to grow beyond this")
    parser.add_argument("--auto-compaction-mode", choices=("periodic", "revision"), default="periodic")
    parser.add_argument(
        "--auto-compaction-retention", type=int, default=0, help="seconds or revisions to keep; 0 keeps all"
    )
    options = parser.parse_args(argv)
    files = (options.ca, options.cert, options.key)
    if options.listen_client and not all(files):
        parser.error("--listen-client needs --ca, --cert and --key")
    if not options.listen_client and not options.listen_insecure:
        parser.error("give --listen-client or --listen-insecure")
    secure = bool(options.listen_client)
    return Config(
        data_dir=options.data_dir,
        listen=options.listen_client or options.listen_insecure,
        credentials=Credentials.load(*files) if secure else None,
        listen_insecure=options.listen_insecure or "" if secure else "",
        name=options.name,
        quota_bytes=options.quota_bytes,
        auto_compaction_mode=options.auto_compaction_mode,
        auto_compaction_retention=options.auto_compaction_retention,
    )


def main(argv: list[str]) -> None:
    """Run a member until it is told to stop."""
    config = parse(argv)
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def make() -> Service:
        return StoreService(config)

    run(make, "store")


if __name__ == "__main__":
    main(sys.argv[1:])
