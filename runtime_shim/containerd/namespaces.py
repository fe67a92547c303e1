"""Makes namespaces and sets them up: in the calling thread, or, where a user namespace is to own them, as a program.

A process of several threads can't make a user namespace, so this file is also a program, run in a process of its own
that is gone once its namespaces are bound to files. It imports no more than it needs, to be quick. Parent and program
talk over a socket, which is the program's standard input: it says "u" when it is in its user namespace, goes on when
that has got its ids, says "n" when the other namespaces are ready, and waits to be killed; it ends by itself when the
parent is gone. An error is said in words instead.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Collection, Mapping

# Kernel constants: linux/sched.h, linux/if.h, linux/sockios.h.
CLONE_FLAGS = {"net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000, "user": 0x10000000}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
OWNER_MADE, ALL_MADE, GO_ON = b"u", b"n", b"g"

_libc = ctypes.CDLL(None, use_errno=True)


def make(kinds: Collection[str], hostname: str, sysctls: Mapping[str, str]) -> None:
    """Put the calling thread into new namespaces, for good.

    kinds: of "net", "ipc", "uts". hostname: for the new UTS namespace. sysctls: by dotted name; must be of these
    namespaces. The loopback interface of a new network namespace is up. Raises OSError.
    """
    unshare(kinds)
    if "uts" in kinds:
        encoded = hostname.encode()
        check(_libc.sethostname(encoded, len(encoded)), f"set the hostname {hostname!r}")
    if "net" in kinds:
        _bring_up("lo")
    for name, value in sysctls.items():
        _write_sysctl(name, value)


def unshare(kinds: Collection[str]) -> None:
    """Raises OSError."""
    check(_libc.unshare(sum(CLONE_FLAGS[kind] for kind in kinds)), f"unshare {' '.join(kinds)}")


def check(result: int, what: str) -> None:
    """Raise what a call of the C library says. Raises OSError."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", interface.encode(), 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", interface.encode(), flags | IFF_UP))


def _write_sysctl(name: str, value: str) -> None:
    # With slashes, dots belong to names such as interfaces'; otherwise dots separate.
    path = name if "/" in name else name.replace(".", "/")
    try:
        with open(f"/proc/sys/{path}", "w") as file:
            file.write(value)
    except OSError as failure:
        raise OSError(failure.errno, f"set sysctl {name}={value}: {failure.strerror}") from None


def main(kinds: str, hostname: str, *sysctls: str) -> None:
    """The program. sysctls: NAME=VALUE."""
    try:
        unshare(["user"])
        os.write(0, OWNER_MADE)
        if os.read(0, 1) != GO_ON:
            return
        # What is made next belongs to the namespace's root.
        os.setgid(0)
        os.setuid(0)
        make(kinds.split(), hostname, dict(entry.split("=", 1) for entry in sysctls))
        os.write(0, ALL_MADE)
        os.read(0, 1)
    except OSError as failure:
        os.write(0, str(failure.strerror).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
