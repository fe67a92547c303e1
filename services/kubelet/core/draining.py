"""How long a Pod that is deleted goes on serving before its containers are told to stop.

Everybody hears of the deletion at the same time: this kubelet, the controller that takes the Pod out of its Services,
and through that the proxies of all nodes, which still have to tell their kernels. A server that closes its port at once
would refuse connections that were sent to it meanwhile. So a Pod that Services lead to keeps its containers for a
moment, within its grace period; a preStop hook counts towards it. A short grace period is left undiminished.
"""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import condition_is

# The way through controller, API server and proxy takes a tenth of it.
DRAIN_S = 0.5
SHORTEST_GRACE_S = 5


def drain_s(pod: corev1.Pod, services: Iterable[corev1.Service]) -> float:
    """Seconds from the Pod's deletion on. services: of all namespaces."""
    if pod.metadata.deletion_grace_period_seconds < SHORTEST_GRACE_S:
        return 0.0
    if not condition_is(pod.status.conditions, "Ready"):
        return 0.0
    return DRAIN_S if any(_leads_to(service, pod) for service in services) else 0.0


def _leads_to(service: corev1.Service, pod: corev1.Pod) -> bool:
    selector, labels = service.spec.selector, pod.metadata.labels
    if not selector or service.metadata.namespace != pod.metadata.namespace:
        return False
    return all(labels.get(key) == value for key, value in selector.items())
