"""WireGuard devices by `wg`, which speaks netlink to the kernel's and a socket to programs in user space. Blocking."""

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

from navarch.services.network.kernel import WireguardDevice, WireguardPeer

TIMEOUT_S = 30.0
NO_ENDPOINT = "(none)"


class WireguardRefused(OSError):
    """`wg`, or the program that stands in for the kernel, says that it cannot be."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Of this host. program: makes the device where the kernel has no WireGuard, as wireguard-go does; "" for none."""

    key_file: Path
    program: str = ""


def read(name: str, mtu: int) -> tuple[WireguardDevice, frozenset[WireguardPeer]] | None:
    """A device and its peers; None where nobody serves it any more. Raises OSError if there is no saying."""
    try:
        lines = _wg("show", name, "dump").splitlines()
    except WireguardRefused:
        # Of a program in user space that has died, the link may be left.
        return None
    _, public_key, port, _ = lines[0].split("\t")
    return WireguardDevice(name, int(port), public_key, mtu), frozenset(_peers(name, lines[1:]))


def _peers(name: str, lines: Iterable[str]) -> Iterator[WireguardPeer]:
    for line in lines:
        key, _, endpoint, allowed, *_ = line.split("\t")
        if NO_ENDPOINT in (endpoint, allowed):
            # Not as we make them: it is set anew.
            yield WireguardPeer(name, key, IPv6Address(0), 0, frozenset())
            continue
        host, _, port = endpoint.rpartition(":")
        ranges = frozenset(map(ip_network, allowed.split(",")))
        yield WireguardPeer(name, key, ip_address(host.strip("[]")), int(port), ranges)


def set_up(device: WireguardDevice, key_file: Path) -> None:
    """Give a device that has just been made its key and port. Raises WireguardRefused."""
    _wg("set", device.name, "private-key", str(key_file), "listen-port", str(device.port))


def set_peer(peer: WireguardPeer) -> None:
    """Have the peer just so. Raises WireguardRefused."""
    host = f"[{peer.host}]" if peer.host.version == 6 else str(peer.host)
    allowed = ",".join(sorted(map(str, peer.allowed)))
    _wg("set", peer.device, "peer", peer.public_key, "endpoint", f"{host}:{peer.port}", "allowed-ips", allowed)


def remove_peer(peer: WireguardPeer) -> None:
    """Idempotent. Raises WireguardRefused."""
    _wg("set", peer.device, "peer", peer.public_key, "remove")


def start_program(program: str, name: str) -> None:
    """Have a device made by a program that goes on by itself. Raises WireguardRefused."""
    _run(program, name)


def _wg(*arguments: str) -> str:
    return _run("wg", *arguments)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as failure:
        raise TimeoutError(f"{command[0]} did not answer within {TIMEOUT_S:.0f} s") from failure
    if done.returncode != 0:
        said = done.stderr.strip() or f"it ended with {done.returncode}"
        raise WireguardRefused(f"{' '.join(command)}: {said}")
    return done.stdout
