"""Which Pods make room for a critical one that the node has too little for. Pure.

Of the Pods that the critical one may displace, those of the lowest class of service go: a Guaranteed one only for what
all Burstable and BestEffort ones together do not hold, a Burstable one only for what the BestEffort ones do not. Within
a class the Pod goes first that covers most of what is missing, each resource weighing the same; of two that cover as
much, the one with the smaller requests. So few go, and small ones.
"""

from collections.abc import Iterable, Mapping, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.admission import claims
from navarch.services.kubelet.core.orders import Evict, Rejected
from navarch.services.kubelet.core.pressure import is_critical
from navarch.services.kubelet.core.qos import BEST_EFFORT, BURSTABLE, GUARANTEED, qos_class

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
CONDITION_MESSAGE = "Pod was preempted by Kubelet to accommodate a critical pod."

Missing = Mapping[str, int]


def preemptable(critical: corev1.Pod, other: corev1.Pod) -> bool:
    """Whether a critical Pod may displace another one: one that is not critical, or of lower priority."""
    if not is_critical(other):
        return True
    known = critical.spec.HasField("priority") and other.spec.HasField("priority")
    return known and critical.spec.priority > other.spec.priority


def without(missing: Missing, pods: Iterable[corev1.Pod]) -> dict[str, int]:
    """What is missing still once these Pods are gone."""
    left = dict(missing)
    for pod in pods:
        held = claims(pod)
        left = {resource: amount - held.get(resource, 0) for resource, amount in left.items()}
    return {resource: amount for resource, amount in left.items() if amount > 0}


def victims(critical: corev1.Pod, pods: Iterable[corev1.Pod], missing: Missing) -> list[corev1.Pod] | Rejected:
    """The Pods that are to go, the lowest class first; the refusal of the critical one when all are not enough."""
    classes: dict[str, list[corev1.Pod]] = {BEST_EFFORT: [], BURSTABLE: [], GUARANTEED: []}
    for pod in pods:
        if preemptable(critical, pod):
            classes[qos_class(pod)].append(pod)
    best_effort, burstable, guaranteed = classes.values()
    if unmet := without(missing, [*best_effort, *burstable, *guaranteed]):
        return _no_room(unmet)
    high = _nearest(guaranteed, without(missing, [*best_effort, *burstable]))
    middle = _nearest(burstable, without(missing, [*best_effort, *high]))
    low = _nearest(best_effort, without(missing, [*middle, *high]))
    return [*low, *middle, *high]


def _nearest(pods: Sequence[corev1.Pod], missing: Missing) -> list[corev1.Pod]:
    """Pods that together hold what is missing, which all of them do; each time the one that brings it nearest."""
    left, chosen = list(pods), list[corev1.Pod]()
    while missing:
        best = min(left, key=lambda pod: (_distance(pod, missing), _size(pod)))
        left.remove(best)
        chosen.append(best)
        missing = without(missing, [best])
    return chosen


def _distance(pod: corev1.Pod, missing: Missing) -> float:
    """How far from enough a Pod is: the square of the share that it leaves open, summed over the resources."""
    left = without(missing, [pod])
    return sum((left.get(resource, 0) / amount) ** 2 for resource, amount in missing.items())


def _size(pod: corev1.Pod) -> tuple[int, int]:
    held = claims(pod)
    return held.get("memory", 0), held.get("cpu", 0)


def _no_room(unmet: Missing) -> Rejected:
    amounts = ", ".join(f"(res: {resource}, q: {amount})" for resource, amount in unmet.items())
    return Rejected(
        "UnexpectedAdmissionError",
        "Pod was rejected: Unexpected error while attempting to recover from admission failure: preemption: "
        f"error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{amounts}]",
    )


def preempt(pod: corev1.Pod) -> Evict:
    """What a Pod is told that makes room: it has the time to end that it asks for."""
    condition = corev1.PodCondition(
        type="DisruptionTarget", status="True", reason="TerminationByKubelet", message=CONDITION_MESSAGE
    )
    return Evict(REASON, MESSAGE, float(pod.spec.termination_grace_period_seconds), condition)
