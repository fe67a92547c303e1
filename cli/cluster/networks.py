"""The networks of a cluster: of its Pods and Services, over IPv4, and over IPv6 where that is asked for. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from navarch.cli.errors import UsageError
from navarch.services.base.address_range import AddressRange

Network = IPv4Network | IPv6Network
# A node's share of the Pods' addresses, as the controller manager gives it, and how many shares it can count.
NODE_PREFIX = {4: 24, 6: 64}
MOST_SHARES_BITS = 16
# Room for the API server, DNS at the tenth address, and some more; more than the API server counts.
SERVICE_PREFIXES = {4: range(8, 28), 6: range(108, 124)}
DNS_ADDRESS = 10


@dataclass(frozen=True, slots=True)
class Networks:
    """One network of each version of IP, IPv4 first."""

    pods: tuple[Network, ...]
    services: tuple[Network, ...]

    @classmethod
    def parse(cls, pod_cidr: str, service_cidr: str) -> Self:
        """Raises UsageError that names the option at fault."""
        made = cls(_networks("--pod-cidr", pod_cidr), _networks("--service-cidr", service_cidr))
        for pods in made.pods:
            longest = NODE_PREFIX[pods.version]
            if pods.prefixlen > longest:
                raise UsageError(f"--pod-cidr {pods} has no room for a node, which takes a /{longest}")
            if pods.version == 6 and pods.prefixlen < longest - MOST_SHARES_BITS:
                raise UsageError(f"--pod-cidr {pods} is too large; accepted is a /{longest - MOST_SHARES_BITS} to /64")
        for services in made.services:
            accepted = SERVICE_PREFIXES[services.version]
            if services.prefixlen not in accepted:
                size = "too small" if services.prefixlen > accepted[-1] else "too large"
                raise UsageError(
                    f"--service-cidr {services} is {size}; accepted is a /{accepted[0]} to /{accepted[-1]}"
                )
            for pods in made.pods:
                if services.version == pods.version and services.overlaps(pods):
                    raise UsageError(f"--service-cidr {services} overlaps --pod-cidr {pods}")
        if len(made.services) > len(made.pods):
            raise UsageError(
                f"--service-cidr {service_cidr} needs a --pod-cidr of both, too: {pod_cidr} has no IPv6 for their Pods"
            )
        return made

    @property
    def node_shares(self) -> tuple[Network, ...]:
        """The Pod addresses of the first node, as the controller manager allocates them."""
        return tuple(ip_network(f"{pods.network_address}/{NODE_PREFIX[pods.version]}") for pods in self.pods)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The addresses of the first node's bridge."""
        return tuple(str(share[1]) for share in self.node_shares)

    @property
    def api_address(self) -> str:
        """Where the first of the Services leads, `kubernetes`."""
        return str(self.services[0][1])

    @property
    def dns_address(self) -> str:
        """What Pods ask for names."""
        return str(self.services[0][DNS_ADDRESS])

    def check_pool(self, pool: str, node_addresses: tuple[str, ...]) -> None:
        """Of load balancers. Raises UsageError where it holds what is somebody else's."""
        for text in filter(None, pool.split(",")):
            try:
                given = AddressRange.parse(text)
            except ValueError as failure:
                raise UsageError(f"--load-balancer-pool {failure}") from None
            for option, networks in (("--pod-cidr", self.pods), ("--service-cidr", self.services)):
                for network in networks:
                    if AddressRange(network[0], network[-1]).overlaps(given):
                        raise UsageError(f"--load-balancer-pool {text} overlaps {option} {network}")
            for address in node_addresses:
                if given.overlaps(AddressRange.parse(address)):
                    raise UsageError(f"--load-balancer-pool {text} holds the node's own address {address}")


def _networks(option: str, text: str) -> tuple[Network, ...]:
    try:
        found = tuple(ip_network(part) for part in text.split(","))
    except ValueError as failure:
        raise UsageError(f"{option} {text!r}: {failure}") from None
    if [one.version for one in found] not in ([4], [4, 6]):
        raise UsageError(f"{option} {text!r}: accepted is one IPv4 network, or one of IPv4 and one of IPv6 after it")
    return found
