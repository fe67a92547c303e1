"""The network service's command line."""

import argparse
import asyncio
import sys
from pathlib import Path

from navarch.services.base.process import run
from navarch.services.network.masquerade import NftError
from navarch.services.network.service import Config, Network, tear_down


def main(argv: list[str]) -> None:
    """Keep the node's network until told to stop; with --remove, take it away."""
    parser = argparse.ArgumentParser(prog="navarch-network", description=__doc__)
    parser.add_argument("--pod-cidr", required=True)
    parser.add_argument("--bridge", default="navarch0", help="name of the bridge, at most 15 characters")
    parser.add_argument("--cni-conf-dir", type=Path, required=True)
    parser.add_argument("--table", default="navarch", help="name of the nftables table")
    parser.add_argument("--cluster-cidr", action="append", default=[], help="where Pods keep their own address")
    parser.add_argument("--remove", action="store_true", help="remove table, bridge and files, then exit")
    options = parser.parse_args(argv)
    config = Config(options.pod_cidr, options.bridge, options.cni_conf_dir, options.table, tuple(options.cluster_cidr))
    if options.remove:
        try:
            asyncio.run(tear_down(config))
        except (NftError, OSError) as failure:
            sys.exit(f"cannot remove the network: {failure}")
        return

    async def create() -> Network:
        return Network(config)

    run(create, "network")


if __name__ == "__main__":
    main(sys.argv[1:])
