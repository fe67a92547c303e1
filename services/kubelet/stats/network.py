"""What has passed through the network interfaces that a process sees."""

from collections.abc import Iterable
from pathlib import Path

from navarch.protos.navarch import stats_pb2

# Containers' ends of their links are counted in the containers.
IGNORED = ("lo", "veth")


def interfaces(process: Path) -> list[stats_pb2.InterfaceUsage]:
    """By the directory of a process below /proc; none when it has ended."""
    try:
        lines = (process / "net" / "dev").read_text().splitlines()[2:]
    except OSError:
        return []
    found = []
    for line in lines:
        name, _, counts = line.partition(":")
        # Received: bytes packets errors dropped fifo frame compressed multicast; then the same for sent.
        numbers = [int(word) for word in counts.split()]
        if not name.strip().startswith(IGNORED):
            found.append(
                stats_pb2.InterfaceUsage(
                    name=name.strip(),
                    rx_bytes=numbers[0],
                    rx_errors=numbers[2],
                    tx_bytes=numbers[8],
                    tx_errors=numbers[10],
                )
            )
    return found


def main_interface(process: Path) -> str:
    """The one by which others are reached; "eth0" where no route says."""
    try:
        rows = [line.split() for line in (process / "net" / "route").read_text().splitlines()[1:]]
    except OSError:
        rows = []
    return next((row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"), "eth0")


def network_usage(found: Iterable[stats_pb2.InterfaceUsage], main: str) -> stats_pb2.NetworkUsage:
    """All interfaces, and the main one once more by itself."""
    usage = stats_pb2.NetworkUsage(interfaces=found)
    for one in usage.interfaces:
        if one.name == main:
            usage.name = one.name
            usage.rx_bytes, usage.rx_errors = one.rx_bytes, one.rx_errors
            usage.tx_bytes, usage.tx_errors = one.tx_bytes, one.tx_errors
    return usage
