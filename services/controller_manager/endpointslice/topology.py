"""For which zone each ready endpoint is, where a Service asks for `topology-mode: Auto` (KEP-2433). Pure.

Each zone gets endpoints in proportion to the processors of its nodes, so that clients who stay in their zone find no
endpoint overloaded: with fewer than its minimum a zone would have more than `OVERLOAD` above its share. An endpoint is
for its own zone, unless another needs it. Where that cannot be, there are no hints at all, and it is said why.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import condition_is
from navarch.services.api.quantity import cpu_millicores

ANNOTATIONS = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
ZONE = "topology.kubernetes.io/zone"
CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
LABELS = (ZONE, *CONTROL_PLANE)
OVERLOAD = Fraction(1, 5)


class NoHints(Exception):
    """Why endpoints cannot be allocated to zones."""


def is_asked(service: corev1.Service) -> bool:
    """Whether the Service wants it. The older annotation counts where the newer is not there."""
    found = (service.metadata.annotations.get(name, "") for name in ANNOTATIONS)
    return next(filter(None, found), "") in ("Auto", "auto")


def shares(nodes: Iterable[corev1.Node]) -> dict[str, Fraction]:
    """Of each zone in the processors of all ready nodes but the control plane's; empty where a node does not say."""
    cores: Counter[str] = Counter()
    for node in nodes:
        if not node.metadata.labels.keys().isdisjoint(CONTROL_PLANE):
            continue
        if not condition_is(node.status.conditions, "Ready"):
            continue
        zone = node.metadata.labels.get(ZONE, "")
        millicores = cpu_millicores(node.status.allocatable["cpu"]) if "cpu" in node.status.allocatable else 0
        if not zone or millicores <= 0:
            return {}
        cores[zone] += millicores
    return {zone: Fraction(count, cores.total()) for zone, count in sorted(cores.items())}


def hints(zones: Mapping[str, str], share: Mapping[str, Fraction], before: Mapping[str, str]) -> dict[str, str]:
    """The zone that each endpoint is for. Raises NoHints.

    zones: where the ready endpoints are, "" where that is not known. share: see `shares`. before: for which they were
    until now; who was given away stays so rather than another, if somebody has to be.
    """
    least = _least(len(zones), share)
    if "" in zones.values():
        raise NoHints("one or more endpoints do not have a zone specified")
    result = dict(sorted(zones.items()))
    # Of a zone whose nodes have gone, all are to give.
    given: dict[str, list[str]] = {zone: [] for zone in {*zones.values(), *share}}
    for name, zone in result.items():
        given[zone].append(name)
    for zone, wanted in sorted(least.items()):
        while len(given[zone]) < wanted:
            donor = max(given, key=lambda one: (len(given[one]) - least.get(one, 0), one))
            name = next((one for one in given[donor] if before.get(one) == zone), given[donor][0])
            given[donor].remove(name)
            given[zone].append(name)
            result[name] = zone
    # Nobody asks from a zone without nodes.
    for zone in sorted(given.keys() - share.keys()):
        for name in given[zone]:
            receiver = min(share, key=lambda one: (len(given[one]) / share[one], one))
            given[receiver].append(name)
            result[name] = receiver
    return result


def _least(count: int, share: Mapping[str, Fraction]) -> dict[str, int]:
    if not share:
        raise NoHints("insufficient node information: allocatable CPU or zone not specified on one or more nodes")
    if len(share) < 2:
        raise NoHints("nodes only ready in one zone")
    if count < len(share):
        raise NoHints(f"insufficient number of endpoints ({count}) for {len(share)} zones")
    least = {zone: math.ceil(part * count / (1 + OVERLOAD)) for zone, part in share.items()}
    if sum(least.values()) > count:
        raise NoHints(f"minimum allocation of {count} endpoints exceeds overload threshold ({float(OVERLOAD)})")
    return least
