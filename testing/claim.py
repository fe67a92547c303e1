"""Numbers that are used once on a host, such as those of its networks, among tests that run at once."""

import errno
import random
import socket
from collections.abc import Collection
from types import TracebackType
from typing import Self


class Claim:
    """One of some numbers, which nobody else on this host gets until it is closed or its process has ended.

    kind: what is numbered. Raises LookupError if all are taken. The kernel keeps the claims, as names of sockets.
    """

    def __init__(self, kind: str, numbers: Collection[int]) -> None:
        for number in random.sample(list(numbers), len(numbers)):
            held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                held.bind(f"\0navarch-test/{kind}/{number}")
            except OSError as failure:
                held.close()
                if failure.errno != errno.EADDRINUSE:
                    raise
                continue
            self.number, self._held = number, held
            return
        raise LookupError(f"{kind}: all of {len(numbers)} numbers are taken")

    def close(self) -> None:
        """Let others have it. Idempotent."""
        self._held.close()

    def __enter__(self) -> Self:
        """Hold it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others have it."""
        self.close()
