"""Node selectors: does a node match the terms that a Pod or a volume names? And do tolerations cover a taint?

Source: the Kubernetes API reference of NodeSelector; Gt and Lt compare integers.
"""

from collections.abc import Iterable, Mapping

from navarch.protos.k8s.core import v1_pb2 as corev1


def matches_node_selector(selector: corev1.NodeSelector, node: corev1.Node) -> bool:
    """Whether one of the terms (they are ORed) matches; no terms match nothing."""
    return any(matches_term(term, node) for term in selector.node_selector_terms)


def matches_term(term: corev1.NodeSelectorTerm, node: corev1.Node) -> bool:
    """Whether all requirements of a term hold; an empty term matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return _all_hold(term.match_expressions, node.metadata.labels) and _all_hold(term.match_fields, fields)


def matches_pod_affinity(pod: corev1.Pod, node: corev1.Node) -> bool:
    """Whether the Pod's nodeSelector and required node affinity admit the node."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    affinity = pod.spec.affinity.node_affinity
    if not affinity.HasField("required_during_scheduling_ignored_during_execution"):
        return True
    return matches_node_selector(affinity.required_during_scheduling_ignored_during_execution, node)


def _all_hold(requirements: Iterable[corev1.NodeSelectorRequirement], labels: Mapping[str, str]) -> bool:
    return all(_holds(requirement, labels) for requirement in requirements)


def _holds(requirement: corev1.NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    value = labels[requirement.key] if present else ""
    match requirement.operator:
        case "In":
            return present and value in requirement.values
        case "NotIn":
            return not present or value not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "Gt" | "Lt":
            return present and _compares(requirement, value)
        case _:
            return False


def _compares(requirement: corev1.NodeSelectorRequirement, value: str) -> bool:
    try:
        found, bound = int(value), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return found > bound if requirement.operator == "Gt" else found < bound


def tolerates(tolerations: Iterable[corev1.Toleration], taint: corev1.Taint) -> bool:
    """Whether one of the tolerations covers the taint."""
    return any(_covers(toleration, taint) for toleration in tolerations)


def _covers(toleration: corev1.Toleration, taint: corev1.Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value
