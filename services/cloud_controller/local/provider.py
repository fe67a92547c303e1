"""The provider for clusters without a cloud. With a pool, each load balancer has an address of its own, which the nodes
announce (`announcer`); without one it is reached at the nodes' own addresses, like their node ports."""

from collections.abc import Callable, Iterable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import CloudRoute, Instance
from navarch.services.base.address_range import AddressRange
from navarch.services.cloud_controller.local.pool import VERSIONS, allocate, held
from navarch.services.cloud_controller.provider import Abilities, ProviderFailure

NAME = "local"
OUTSIDE, INSIDE = "ExternalIP", "InternalIP"


class LocalProvider:
    """services: all there are, as cached; what was given and is not shown there yet is remembered."""

    def __init__(self, ranges: Sequence[AddressRange], services: Callable[[], Iterable[corev1.Service]]) -> None:
        self._ranges = ranges
        self._services = services
        self._given: dict[str, corev1.Service] = {}

    async def describe(self) -> Abilities:
        """Load balancers alone: kubelets know their own hosts, and the network agents the ways between them."""
        return Abilities(NAME, load_balancers=True)

    async def ensure_load_balancer(
        self, service: corev1.Service, nodes: Sequence[corev1.Node]
    ) -> Sequence[corev1.LoadBalancerIngress]:
        """Give it an address."""
        if not self._ranges:
            return [corev1.LoadBalancerIngress(ip=one, ip_mode="VIP") for one in _own(service, nodes)]
        addresses = allocate(service, self._others(service), self._ranges)
        ingress = [corev1.LoadBalancerIngress(ip=str(one), ip_mode="VIP") for one in addresses]
        given = self._given[service.metadata.uid] = corev1.Service(metadata=service.metadata)
        given.status.load_balancer.ingress.extend(ingress)
        return ingress

    def _others(self, service: corev1.Service) -> list[corev1.Service]:
        """What others have, by their word and by what they were given since: both are taken until the two agree."""
        shown = {one.metadata.uid: one for one in self._services()}
        self._given = {
            uid: one for uid, one in self._given.items() if uid not in shown or held(shown[uid]) != held(one)
        }
        known = (*shown.values(), *self._given.values())
        return [one for one in known if one.metadata.uid != service.metadata.uid]

    async def delete_load_balancer(self, service: corev1.Service) -> None:
        """Its address is free once its status says so no more."""
        self._given.pop(service.metadata.uid, None)

    async def instance(self, node_name: str, provider_id: str) -> Instance | None:
        """There are none."""
        raise ProviderFailure("hosts are no instances of a cloud")

    async def routes(self) -> Sequence[CloudRoute]:
        """There are none."""
        return ()

    async def create_route(self, route: CloudRoute) -> None:
        """There are none."""
        raise ProviderFailure("routes are the network agents'")

    async def delete_route(self, route: CloudRoute) -> None:
        """There are none."""
        raise ProviderFailure("routes are the network agents'")

    async def close(self) -> None:
        """Nothing is held."""


def _own(service: corev1.Service, nodes: Sequence[corev1.Node]) -> list[str]:
    """The nodes' addresses of the Service's families: those to the outside where a node has such."""
    versions = [VERSIONS[family] for family in service.spec.ip_families or ["IPv4"]]
    found: dict[str, None] = {}
    for node in sorted(nodes, key=lambda one: one.metadata.name):
        for version in versions:
            of = {kind: [] for kind in (OUTSIDE, INSIDE)}  # type: dict[str, list[str]]
            for address in node.status.addresses:
                if address.type in of and (":" in address.address) == (version == 6):
                    of[address.type].append(address.address)
            found |= dict.fromkeys((of[OUTSIDE] or of[INSIDE])[:1])
    return list(found)
