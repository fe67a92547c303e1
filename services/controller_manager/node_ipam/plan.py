"""Which part of the cluster's Pod addresses a Node gets. Pure; all state is in the Nodes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from navarch.protos.k8s.core import v1_pb2 as corev1

Network = IPv4Network | IPv6Network

# Prefix length of a Node's part, by IP version.
NODE_PREFIX = {4: 24, 6: 64}


class Exhausted(Exception):
    """The cluster's range has no free part left."""


@dataclass(frozen=True, slots=True)
class Range:
    """One address range of the cluster and the size of a Node's part."""

    network: Network
    node_prefix: int

    @classmethod
    def parse(cls, text: str, node_prefixes: Mapping[int, int] = NODE_PREFIX) -> "Range":
        """From CIDR notation. node_prefixes: of a Node's part, by IP version.

        Raises ValueError for a range that does not hold one part, or no part of that size.
        """
        network = ip_network(text)
        prefix = node_prefixes[network.version]
        if network.prefixlen > prefix:
            raise ValueError(f"cluster CIDR {text} is smaller than the /{prefix} of one node")
        if prefix > network.max_prefixlen:
            raise ValueError(f"/{prefix} is no part of cluster CIDR {text}: at most /{network.max_prefixlen}")
        return cls(network, prefix)

    def first_free(self, taken: Iterable[Network]) -> Network:
        """The lowest part that overlaps nothing taken. Raises Exhausted."""
        size = 1 << (self.network.max_prefixlen - self.node_prefix)
        base, end = int(self.network.network_address), int(self.network.broadcast_address) + 1
        # Jump from one taken stretch to the end of the next: cost follows the Nodes, not the range.
        candidate = base
        for low, high in sorted(_bounds(each) for each in taken if each.version == self.network.version):
            if low < candidate + size and high > candidate:
                candidate = base + -(-(high - base) // size) * size
        if candidate + size > end:
            raise Exhausted(f"no free /{self.node_prefix} left in {self.network}")
        return type(self.network)((candidate, self.node_prefix))


def ranges_of(texts: Sequence[str], node_prefixes: Mapping[int, int] = NODE_PREFIX) -> tuple[Range, ...]:
    """The ranges of a cluster: one, or one of each IP version. Raises ValueError for others."""
    ranges = tuple(Range.parse(text, node_prefixes) for text in texts)
    if not ranges:
        raise ValueError("no cluster CIDR: expected one, or one IPv4 and one IPv6")
    if len({each.network.version for each in ranges}) < len(ranges):
        raise ValueError(f"cluster CIDRs {', '.join(texts)}: expected one, or one IPv4 and one IPv6")
    return ranges


def parts_of(node: corev1.Node) -> list[Network]:
    """The parts that a Node holds."""
    texts = list(node.spec.pod_cidrs) or ([node.spec.pod_cidr] if node.spec.pod_cidr else [])
    return [ip_network(text, strict=False) for text in texts]


def allocate(ranges: Sequence[Range], taken: Iterable[Network]) -> list[str]:
    """One free part of each range, in CIDR notation."""
    known = list(taken)
    return [str(each.first_free(known)) for each in ranges]


def _bounds(network: Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address) + 1
