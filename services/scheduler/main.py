"""The scheduler's command line."""

import argparse
import os
import socket
from pathlib import Path
from random import Random

from navarch.services.base.clock import SystemClock
from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.scheduler.service import Config, SchedulerService


def main(argv: list[str]) -> None:
    """Run the scheduler until it is told to stop."""
    parser = argparse.ArgumentParser(prog="navarch-scheduler", description=__doc__)
    parser.add_argument("--api-server", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:10259", metavar="HOST:PORT")
    parser.add_argument("--identity", default=f"{socket.gethostname()}_{os.getpid()}")
    options = parser.parse_args(argv)

    async def create() -> SchedulerService:
        config = Config(
            api_server=options.api_server,
            credentials=Credentials.load(options.ca, options.cert, options.key),
            listen=options.listen,
            identity=options.identity,
        )
        return SchedulerService(config, SystemClock(), Random())

    run(create, "scheduler")
