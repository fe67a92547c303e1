"""Required Pod affinity and anti-affinity: a Pod wants to be near to, or away from, other Pods.

"Near" is a topology domain: the nodes with the same value of a label. Anti-affinity holds both ways: the
terms of Pods that run already refuse the newcomer too. A Pod whose affinity only it itself matches may be
the first of its kind anywhere. Source: Kubernetes, Inter-pod affinity and anti-affinity.
"""

from collections.abc import Callable, Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.labels import Selector
from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import FilterCheck, Refusal
from navarch.services.scheduler.queue import Change

Domain = tuple[str, str]


class InterPodAffinity:
    """Refuses nodes that break a required term of this Pod or of one that is there."""

    name = "InterPodAffinity"
    wakes_on = frozenset({Change.NODE_ADDED, Change.NODE_UPDATED, Change.POD_PLACED, Change.POD_REMOVED})

    def prepare(self, info: PodInfo, cluster: Cluster) -> FilterCheck | None:
        """One walk over the placed Pods finds the domains that are wanted and those that are barred."""
        wanted = list(info.pod.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution)
        barred_by_others = _domains_barred_by_others(info.pod, cluster)
        if not wanted and not info.required_anti_affinity and not barred_by_others:
            return None
        near = [(term.topology_key, _domains_with(info.pod, term, cluster)) for term in wanted]
        first = all(
            not domains and _term_matcher(info.pod, term, cluster)(info.pod)
            for (_, domains), term in zip(near, wanted, strict=True)
        )
        away: set[Domain] = set()
        for term in info.required_anti_affinity:
            away |= _domains_with(info.pod, term, cluster)

        def check(node: NodeInfo) -> Refusal:
            labels = node.node.metadata.labels
            for key, domains in near:
                missing = key not in labels or (not first and (key, labels[key]) not in domains)
                if missing:
                    return "node(s) didn't match pod affinity rules"
            here = set(labels.items())
            if away & here:
                return "node(s) didn't match pod anti-affinity rules"
            if barred_by_others & here:
                return "node(s) didn't satisfy existing pods anti-affinity rules"
            return None

        return check


def _domains_with(pod: corev1.Pod, term: corev1.PodAffinityTerm, cluster: Cluster) -> set[Domain]:
    matches = _term_matcher(pod, term, cluster)
    return set(_domains(term.topology_key, (node for node, other in cluster.pods() if matches(other.pod))))


def _domains_barred_by_others(pod: corev1.Pod, cluster: Cluster) -> set[Domain]:
    barred: set[Domain] = set()
    for node, other in cluster.pods():
        for term in other.required_anti_affinity:
            if _term_matcher(other.pod, term, cluster)(pod):
                barred.update(_domains(term.topology_key, [node]))
    return barred


def _domains(topology_key: str, nodes: Iterable[NodeInfo]) -> Iterable[Domain]:
    for node in nodes:
        if topology_key in node.node.metadata.labels:
            yield topology_key, node.node.metadata.labels[topology_key]


def _term_matcher(owner: corev1.Pod, term: corev1.PodAffinityTerm, cluster: Cluster) -> Callable[[corev1.Pod], bool]:
    """Whether a Pod is one that the term of ``owner`` speaks of."""
    selector = Selector.of(term.label_selector)
    namespaces = set(term.namespaces)
    if term.HasField("namespace_selector"):
        namespace_selector = Selector.of(term.namespace_selector)
        namespaces |= {name for name, labels in cluster.namespaces.items() if namespace_selector.matches(labels)}
    elif not namespaces:
        namespaces = {owner.metadata.namespace}

    def matches(other: corev1.Pod) -> bool:
        return other.metadata.namespace in namespaces and selector.matches(other.metadata.labels)

    return matches
