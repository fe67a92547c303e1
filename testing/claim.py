"""Networks of a host that are used once, among tests that run at once and what killed ones have left."""

import errno
import random
import re
import socket
import subprocess
from collections.abc import Collection


class Claim:
    """What follows a prefix, such as "10.214", in the addresses of a network that nobody else on this host has.

    It is had until it is closed or its process has ended: the kernel keeps the claims, as names of sockets. What routes
    lead to is taken as well. Raises LookupError if all of the numbers are.
    """

    def __init__(self, prefix: str, numbers: Collection[int]) -> None:
        free = sorted(set(numbers) - _routed(prefix))
        for number in random.sample(free, len(free)):
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                held.bind(f"\0navarch-test/{prefix}.{number}")
            except OSError as failure:
                held.close()
                if failure.errno != errno.EADDRINUSE:
                    raise
                continue
            self.prefix, self.number, self._held = prefix, number, held
            return
        raise LookupError(f"all of {len(numbers)} networks {prefix}.N are taken")

    def close(self) -> None:
        """Let others have it. Idempotent."""
        self._held.close()

    def __str__(self) -> str:
        """The beginning of its addresses: "10.214.7"."""
        return f"{self.prefix}.{self.number}"


def _routed(prefix: str) -> set[int]:
    routes = subprocess.run(["ip", "-4", "route"], check=True, text=True, capture_output=True).stdout
    return {int(number) for number in re.findall(rf"\b{re.escape(prefix)}\.(\d+)\.", routes)}
