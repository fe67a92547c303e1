"""A cloud, as the loops see it. Every call may be repeated; what fails is called again later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import CloudRoute, Instance
from navarch.services.client.controller import Hindered


class ProviderFailure(Hindered):
    """The cloud did not do it. The message is for the user."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a cloud has. name: as it stands before "://" in provider ids."""

    name: str
    instances: bool = False
    load_balancers: bool = False
    routes: bool = False


class Provider(Protocol):
    """Raises ProviderFailure throughout."""

    async def describe(self) -> Abilities:
        """What it has."""
        ...

    async def instance(self, node_name: str, provider_id: str) -> Instance | None:
        """The machine of a Node; None when there is no such. provider_id: "" while nobody has set it."""
        ...

    async def ensure_load_balancer(
        self, service: corev1.Service, nodes: Sequence[corev1.Node]
    ) -> Sequence[corev1.LoadBalancerIngress]:
        """Have the load balancer of a Service lead to the nodes. Returns where it is reached."""
        ...

    async def delete_load_balancer(self, service: corev1.Service) -> None:
        """Have none. One that is not there is fine."""
        ...

    async def routes(self) -> Sequence[CloudRoute]:
        """The ways to nodes' Pods that the cloud knows."""
        ...

    async def create_route(self, route: CloudRoute) -> None:
        """Have this one, too."""
        ...

    async def delete_route(self, route: CloudRoute) -> None:
        """Forget this one."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...
