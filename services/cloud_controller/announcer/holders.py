"""Which node holds which address. Pure, so that all nodes that know the same come to the same.

Rendezvous hashing: of all nodes that may hold an address, the one with the highest number for it does. A node that
comes or goes moves only the addresses that it gets or had.
"""

from collections.abc import Callable, Collection, Iterable
from hashlib import sha256

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.cloud_controller.load_balancer.plan import EXCLUDED


def addresses(service: corev1.Service) -> list[str]:
    """What is to be announced of a Service: its load balancer's addresses that lead to nodes as they are."""
    ours = service.spec.type == "LoadBalancer" and not service.spec.load_balancer_class
    ingress = service.status.load_balancer.ingress if ours else ()
    return [one.ip for one in ingress if one.ip and one.ip_mode in ("", "VIP")]


def holder(address: str, nodes: Iterable[str]) -> str:
    """The node that holds an address; "" where none may."""
    return max(nodes, key=lambda node: (sha256(f"{node}/{address}".encode()).digest(), node), default="")


def held(
    own: str,
    services: Iterable[corev1.Service],
    nodes: Iterable[corev1.Node],
    alive: Collection[str],
    serving: Callable[[str], Collection[str]],
) -> set[str]:
    """The addresses that a node holds. serving: by "namespace/name" of a Service, the nodes that have its endpoints.

    A node's own addresses are never announced: it has them.
    """
    found = [node for node in nodes if EXCLUDED not in node.metadata.labels]
    able = {node.metadata.name for node in found} & set(alive)
    theirs = {one.address for node in found for one in node.status.addresses}
    result = set()
    for service in services:
        candidates = able
        if service.spec.external_traffic_policy == "Local":
            key = f"{service.metadata.namespace}/{service.metadata.name}"
            candidates = able & set(serving(key))
        result |= {one for one in addresses(service) if one not in theirs and holder(one, candidates) == own}
    return result
