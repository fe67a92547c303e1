"""The kubelet's process."""

import asyncio
import signal
from dataclasses import replace

from navarch.services.base.process import run
from navarch.services.base.tls import Credentials
from navarch.services.kubelet.command_line import read
from navarch.services.kubelet.service import Kubelet


def main(argv: list[str]) -> None:
    """Run a kubelet until it is told to stop."""
    config, options = read(argv)

    async def create() -> Kubelet:
        # Without: the kubelet gets its own.
        credentials = Credentials.load(options.ca, options.cert, options.key) if options.key else None
        kubelet = Kubelet(replace(config, credentials=credentials))
        # What tells of a power failure; on hosts without logind, of any shutdown.
        asyncio.get_running_loop().add_signal_handler(signal.SIGPWR, kubelet.shut_down)
        return kubelet

    run(create, "kubelet")
