"""Hosts of their own: network namespaces, tied together by a switch (`wire`) whose faults a test controls.

Namespaces and devices belong to this process, by descriptors only, and have no names or files: when the process ends,
in whatever way, they are gone. Port 0 of the switch is this process's own device, for clients.
"""

import ctypes
import fcntl
import os
import secrets
import struct
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from navarch.testing.claim import Claim
from navarch.testing.wire import Rules

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
# Large frames are fewer frames.
_MTU = 32000


class Network:
    """Some hosts: an async context manager. Rules take effect when they are set."""

    def __init__(self, hosts: int) -> None:
        # Apart from the networks of clusters on this host.
        self._subnet = Claim("10.126", range(256))
        self._count = hosts
        self._namespaces: dict[int, int] = {}
        self._taps: list[int] = []
        self._switch: subprocess.Popen[bytes] | None = None
        self._rules = Rules()

    async def __aenter__(self) -> Self:
        """Make them."""
        try:
            self._taps.append(self._device(f"nvf{secrets.token_hex(4)}", 0))
            for port in range(1, self._count + 1):
                self._make_host(port)
            command = [sys.executable, "-m", "navarch.testing.wire", *map(str, self._taps)]
            self._switch = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=self._taps)  # noqa: ASYNC220
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of all."""
        if self._switch is not None:
            self._switch.kill()
            self._switch.communicate()
        for descriptor in (*self._taps, *self._namespaces.values()):
            os.close(descriptor)
        self._taps, self._namespaces = [], {}
        self._subnet.close()

    @property
    def hosts(self) -> list[str]:
        """Their addresses."""
        return [self._address(port) for port in range(1, self._count + 1)]

    def enter(self, host: str) -> list[str]:
        """What a command begins with that is to run on a host, and to end with this process."""
        namespace = f"/proc/{os.getpid()}/fd/{self._namespaces[self._port(host)]}"
        return ["nsenter", f"--net={namespace}", "setpriv", "--pdeathsig", "KILL"]

    # Faults.

    def heal(self) -> None:
        """A network without faults."""
        self._set(Rules())

    def cut(self, senders: Iterable[str], receivers: Iterable[str], *, both_ways: bool = True) -> None:
        """Let nothing through from these hosts to those. In addition to what is cut already."""
        pairs = {(self._port(a), self._port(b)) for a in senders for b in list(receivers)}
        back = {(to, sender) for sender, to in pairs} if both_ways else set()
        self._set(Rules(self._rules.cut | pairs | back, self._rules.late_s, self._rules.lost, self._rules.seed))

    def impair(self, senders: Iterable[str], *, late_s: float = 0.0, lost: float = 0.0, seed: int = 0) -> None:
        """Delay and lose what these hosts send."""
        ports = [self._port(host) for host in senders]
        self._set(Rules(set(), dict.fromkeys(ports, late_s), dict.fromkeys(ports, lost), seed))

    def _set(self, rules: Rules) -> None:
        assert self._switch is not None
        assert self._switch.stdin is not None
        self._rules = rules
        self._switch.stdin.write(rules.to_line())
        self._switch.stdin.flush()

    # Making them.

    def _address(self, port: int) -> str:
        return f"{self._subnet}.{port + 1}"

    def _port(self, host: str) -> int:
        return int(host.rpartition(".")[2]) - 1

    def _make_host(self, port: int) -> None:
        # A thread of its own, which does not come back from the new namespace.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._move_out, port).result()

    def _move_out(self, port: int) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot make a network namespace")
        self._namespaces[port] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _ip("link", "set", "lo", "up")
        self._taps.append(self._device("eth0", port))

    def _device(self, name: str, port: int) -> int:
        """A TAP device in the namespace of this thread, up and with its address."""
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH", name.encode(), _TAP_WITHOUT_HEADER))
        _ip("link", "set", name, "address", f"02:00:00:00:00:{port:02x}", "mtu", str(_MTU), "up")
        _ip("address", "add", f"{self._address(port)}/24", "dev", name)
        return tap


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
