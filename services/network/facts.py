"""What the plan has to know of Nodes."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.network import wireguard_key
from navarch.services.network.kernel import CIDR, Address

INTERNAL_IP = "InternalIP"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node. addresses: its InternalIPs. cidrs: of its Pods. malformed: what of these is no CIDR.

    public_key: of WireGuard, as its agent tells it; "" where it tells none.
    seniority: orders Nodes by age; where two hold the same addresses, the older keeps them.
    """

    name: str
    addresses: tuple[Address, ...] = ()
    cidrs: tuple[CIDR, ...] = ()
    malformed: tuple[str, ...] = ()
    created_s: int = 0
    public_key: str = ""

    @property
    def seniority(self) -> tuple[int, str]:
        """Less is older."""
        return (self.created_s, self.name)

    def address(self, version: int) -> Address | None:
        """The first InternalIP of an IP version."""
        return next((address for address in self.addresses if address.version == version), None)

    def cidr(self, version: int) -> CIDR | None:
        """The first range of an IP version."""
        return next((cidr for cidr in self.cidrs if cidr.version == version), None)

    @property
    def mac(self) -> str:
        """Of its VXLAN devices: locally administered, by the name, so that all know it without being told."""
        digest = hashlib.sha256(f"navarch-vxlan/{self.name}".encode()).digest()
        return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def node_facts(node: corev1.Node) -> NodeFacts:
    """From the API object."""
    texts = list(node.spec.pod_cidrs) or ([node.spec.pod_cidr] if node.spec.pod_cidr else [])
    cidrs, malformed = read_cidrs(texts)
    return NodeFacts(
        node.metadata.name,
        tuple(_addresses(entry.address for entry in node.status.addresses if entry.type == INTERNAL_IP)),
        cidrs,
        malformed,
        node.metadata.creation_timestamp.seconds,
        wireguard_key.checked(node.metadata.annotations.get(wireguard_key.ANNOTATION, "")),
    )


def read_cidrs(texts: Iterable[str]) -> tuple[tuple[CIDR, ...], tuple[str, ...]]:
    """The ranges, and what of the texts is none."""
    found: list[CIDR] = []
    malformed: list[str] = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError:
            malformed.append(text)
    return tuple(found), tuple(malformed)


def _addresses(texts: Iterable[str]) -> Iterable[Address]:
    for text in texts:
        try:
            yield ip_address(text)
        except ValueError:
            continue  # A name, as cloud providers have it: no way leads there.
