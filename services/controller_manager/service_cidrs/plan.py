"""What a ServiceCIDR needs: a finalizer, a word that it is ready and, when it is to go, nobody left in it. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api.meta import find_condition, is_being_deleted, set_condition, time_from, unix

ServiceCIDR = networkingv1.ServiceCIDR
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY, TERMINATING = "Ready", "Terminating"
MANAGED_BY, MANAGER = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
# Until then every API server has seen the deletion, and takes no more addresses from it.
DELETION_GRACE_S = 10.0
READY_TEXT = "Kubernetes Service CIDR is ready"
BLOCKED_TEXT = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


@dataclass(frozen=True, slots=True)
class Finalize:
    """Give it the finalizer, or take it away."""

    present: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Write down how it is: this is the object with its new condition."""

    service_cidr: ServiceCIDR


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again in so many seconds."""

    seconds: float


Action = Finalize | Report | Wait


def plan(
    service_cidr: ServiceCIDR, others: Sequence[ServiceCIDR], addresses: Iterable[str], now: float
) -> Action | None:
    """What to do next. addresses: those that Services hold. others: all other ServiceCIDRs."""
    is_held = FINALIZER in service_cidr.metadata.finalizers
    if not is_being_deleted(service_cidr):
        if not is_held:
            return Finalize(present=True)
        said = find_condition(service_cidr.status.conditions, READY)
        if said is not None and said.status == "True":
            return None
        return _report(service_cidr, "True", "", READY_TEXT, now)
    if not is_held:
        return None
    if is_needed(service_cidr, others, addresses):
        return _report(service_cidr, "False", TERMINATING, BLOCKED_TEXT, now)
    left_s = unix(service_cidr.metadata.deletion_timestamp) + DELETION_GRACE_S - now
    return Wait(left_s) if left_s > 0 else Finalize(present=False)


def is_needed(service_cidr: ServiceCIDR, others: Sequence[ServiceCIDR], addresses: Iterable[str]) -> bool:
    """Whether an address lies in it, and in no other one that stays."""
    kept = [network for other in others if not is_being_deleted(other) for network in networks_of(other)]
    bare = [network for network in networks_of(service_cidr) if not any(_covers(other, network) for other in kept)]
    inside = (ip for ip in map(ipaddress.ip_address, addresses) if any(ip in network for network in bare))
    return any(not any(ip in network for network in kept) for ip in inside)


def networks_of(service_cidr: ServiceCIDR) -> list[Network]:
    """Its blocks."""
    return [ipaddress.ip_network(block) for block in service_cidr.spec.cidrs]


def _covers(outer: Network, inner: Network) -> bool:
    same_family = outer.version == inner.version
    return same_family and outer.prefixlen <= inner.prefixlen and inner.network_address in outer


def _report(service_cidr: ServiceCIDR, status: str, reason: str, message: str, now: float) -> Report | None:
    copy = ServiceCIDR()
    copy.CopyFrom(service_cidr)
    condition = type(copy.status.conditions.add())(type=READY, status=status, reason=reason, message=message)
    del copy.status.conditions[len(service_cidr.status.conditions) :]
    condition.last_transition_time.CopyFrom(time_from(now))
    return Report(copy) if set_condition(copy.status.conditions, condition) else None
