"""Which routes a cloud lacks, and which lead nowhere. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import CloudRoute
from navarch.services.api.meta import find_condition, time_from

UNAVAILABLE = "NetworkUnavailable"


@dataclass(slots=True)
class Plan:
    """Deletions come first: a new route may need the place of an old one."""

    delete: list[CloudRoute] = field(default_factory=list)
    create: list[CloudRoute] = field(default_factory=list)


def plan(nodes: Iterable[corev1.Node], routes: Sequence[CloudRoute], cluster_cidrs: Sequence[str]) -> Plan:
    """One route for each part of the Pod network. Routes outside of it are not ours to delete."""
    result, ours = Plan(), [ip_network(cidr) for cidr in cluster_cidrs]
    wanted = {
        (node.metadata.name, str(ip_network(cidr))): CloudRoute(
            name=f"{node.metadata.uid or node.metadata.name}-{number}",
            node_name=node.metadata.name,
            destination_cidr=cidr,
        )
        for node in nodes
        for number, cidr in enumerate(node.spec.pod_cidrs)
    }
    present = set()
    for route in routes:
        target = ip_network(route.destination_cidr)
        key = (route.node_name, str(target))
        if key in wanted and not route.blackhole:
            present.add(key)
        elif any(target.version == one.version and target.subnet_of(one) for one in ours):  # type: ignore[arg-type]
            result.delete.append(route)
    result.create = [route for key, route in wanted.items() if key not in present]
    return result


def with_network(node: corev1.Node, *, available: bool, now: float) -> corev1.Node | None:
    """A copy that says whether its Pods are reached; None where it does already. now: Unix seconds."""
    status, reason = ("False", "RouteCreated") if available else ("True", "NoRouteCreated")
    found = find_condition(node.status.conditions, UNAVAILABLE)
    if found is not None and found.status == status:
        return None
    result = corev1.Node()
    result.CopyFrom(node)
    kept = [one for one in node.status.conditions if one.type != UNAVAILABLE]
    del result.status.conditions[:]
    result.status.conditions.extend(kept)
    message = "RouteController created a route" if available else "RouteController failed to create a route"
    moment = time_from(now)
    result.status.conditions.add(
        type=UNAVAILABLE,
        status=status,
        reason=reason,
        message=message,
        last_heartbeat_time=moment,
        last_transition_time=moment,
    )
    return result
