"""Defaults of resource lists: canonical quantities, requests that follow limits.

Amounts are rounded up to thousandths, the finest that the API keeps. A quantity that cannot be parsed
stays for validation to refuse.
"""

from collections.abc import Iterable, MutableMapping

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import Quantity

ResourceList = MutableMapping[str, quantity_pb2.Quantity]

HUGE_PAGES_PREFIX = "hugepages-"
_NANOS_PER_MILLI = 10**6


def canonical(resources: ResourceList) -> None:
    """Bring every quantity into the form the API shows: "1000m" becomes "1", "1024Mi" becomes "1Gi"."""
    for quantity in resources.values():
        try:
            amount = Quantity.parse(quantity.string)
        except ValueError:
            continue
        quantity.string = str(Quantity(amount.milli_value() * _NANOS_PER_MILLI, amount.format))


def default_requests(resources: corev1.ResourceRequirements) -> None:
    """Request what is limited, where no request is made."""
    adopt(resources.requests, resources.limits)


def default_pod_resources(spec: corev1.PodSpec) -> None:
    """Complete the resources of the Pod as a whole, if it states any.

    What has a limit gets a request: the sum of the containers' requests where that resource may be
    overcommitted (all but huge pages), else the limit itself.
    """
    if not spec.HasField("resources"):
        return
    resources = spec.resources
    canonical(resources.limits)
    canonical(resources.requests)
    for name, total in _sums(container.resources.limits for container in spec.containers).items():
        if name.startswith(HUGE_PAGES_PREFIX) and name not in resources.requests and name not in resources.limits:
            resources.limits[name].string = str(total)
    if not resources.limits:
        return
    for name, total in _sums(container.resources.requests for container in spec.containers).items():
        if not name.startswith(HUGE_PAGES_PREFIX) and name not in resources.requests:
            resources.requests[name].string = str(total)
    adopt(resources.requests, resources.limits)


def adopt(requests: ResourceList, limits: ResourceList) -> None:
    """Take over the amounts of resources that are not among the requests."""
    for name, limit in limits.items():
        if name not in requests:
            requests[name].string = limit.string


def _sums(lists: Iterable[ResourceList]) -> dict[str, Quantity]:
    totals: dict[str, Quantity] = {}
    for resources in lists:
        for name, quantity in resources.items():
            try:
                amount = Quantity.parse(quantity.string)
            except ValueError:
                continue
            totals[name] = totals[name] + amount if name in totals else amount
    return totals
