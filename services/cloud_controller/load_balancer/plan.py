"""Which Services want a load balancer, and which Nodes take its traffic. Pure."""

from collections.abc import Iterable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import condition_is, is_being_deleted

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


def wants(service: corev1.Service) -> bool:
    """Whether it is to have a load balancer of this cloud. One with a class is another controller's."""
    is_ours = service.spec.type == "LoadBalancer" and not service.spec.load_balancer_class
    return is_ours and not is_being_deleted(service)


def may_have(service: corev1.Service) -> bool:
    """Whether it had one of ours, which must go with it."""
    return FINALIZER in service.metadata.finalizers


def takes_traffic(node: corev1.Node) -> bool:
    """Whether a load balancer may lead to a Node."""
    if EXCLUDED in node.metadata.labels or any(taint.key == TO_BE_DELETED for taint in node.spec.taints):
        return False
    return condition_is(node.status.conditions, "Ready") and not is_being_deleted(node)


def with_finalizer(service: corev1.Service, *, present: bool) -> corev1.Service:
    """A copy that has the finalizer, or not."""
    result = corev1.Service()
    result.CopyFrom(service)
    kept = [name for name in service.metadata.finalizers if name != FINALIZER]
    del result.metadata.finalizers[:]
    result.metadata.finalizers.extend([*kept, FINALIZER] if present else kept)
    return result


def with_ingress(service: corev1.Service, ingress: Sequence[corev1.LoadBalancerIngress]) -> corev1.Service | None:
    """A copy that is reached there; None where it says so already."""
    if list(service.status.load_balancer.ingress) == list(ingress):
        return None
    result = corev1.Service()
    result.CopyFrom(service)
    del result.status.load_balancer.ingress[:]
    result.status.load_balancer.ingress.extend(ingress)
    return result


def pool(nodes: Iterable[corev1.Node]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """What load balancers depend on of the Nodes: as long as this is the same, none has to be brought up to date."""
    return tuple(
        sorted(
            (node.metadata.name, node.spec.provider_id, tuple(one.address for one in node.status.addresses))
            for node in nodes
            if takes_traffic(node)
        )
    )
