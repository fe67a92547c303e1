"""What may change in a Pod that waits for its scheduling gates: where it may go, as long as that becomes less."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.values import Errors, shown

_TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"


def restore_node_affinity(spec: corev1.PodSpec, old: corev1.PodSpec) -> None:
    """Put the old node affinity into a copy of the new spec."""
    spec.affinity.ClearField("node_affinity")
    if old.affinity.HasField("node_affinity"):
        spec.affinity.node_affinity.CopyFrom(old.affinity.node_affinity)
    if not spec.affinity.ListFields() and not old.HasField("affinity"):
        spec.ClearField("affinity")


def validate_narrowing(new: corev1.PodSpec, old: corev1.PodSpec) -> Errors:
    """Check that the nodes that the Pod may go to are some of those it could go to before."""
    if not old.node_selector.items() <= new.node_selector.items():
        text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield FieldError.invalid("spec.nodeSelector", dict(sorted(new.node_selector.items())), text)
    before, after = _terms(old), _terms(new)
    if before and len(before) != len(after):
        text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield FieldError.invalid(_TERMS, [shown(term) for term in after], text)
        return
    for index, (term, was) in enumerate(zip(after, before, strict=False)):
        if not _only_adds(term, was):
            text = "only additions are allowed (no mutations or deletions)"
            yield FieldError.invalid(f"{_TERMS}[{index}]", shown(term), text)


def _terms(spec: corev1.PodSpec) -> list[corev1.NodeSelectorTerm]:
    affinity = spec.affinity.node_affinity
    return list(affinity.required_during_scheduling_ignored_during_execution.node_selector_terms)


def _only_adds(new: corev1.NodeSelectorTerm, old: corev1.NodeSelectorTerm) -> bool:
    """Whether all requirements are still there, in front. An empty term matches nothing and stays that way."""
    if not old.match_expressions and not old.match_fields:
        return not new.match_expressions and not new.match_fields
    for field in ("match_expressions", "match_fields"):
        ours, theirs = getattr(new, field), getattr(old, field)
        if len(ours) < len(theirs) or not all(map(same, ours, theirs)):
            return False
    return True
