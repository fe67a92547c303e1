"""Rules for where a Pod may go: affinity, tolerations, taints, spreading, gates."""

from collections.abc import Callable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.selectors import (
    validate_label_selector,
    validate_node_selector,
    validate_node_selector_term,
)
from navarch.services.api.validation.values import Errors, check, required, supported

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


def validate_affinity(affinity: corev1.Affinity, path: str) -> Errors:
    """Check node affinity, Pod affinity and Pod anti-affinity."""
    if affinity.HasField("node_affinity"):
        node, here = affinity.node_affinity, f"{path}.nodeAffinity"
        if node.HasField("required_during_scheduling_ignored_during_execution"):
            selector = node.required_during_scheduling_ignored_during_execution
            yield from validate_node_selector(selector, f"{here}.{_REQUIRED}")
        for index, preferred in enumerate(node.preferred_during_scheduling_ignored_during_execution):
            place = f"{here}.{_PREFERRED}[{index}]"
            yield from _validate_weight(preferred.weight, place)
            yield from validate_node_selector_term(preferred.preference, f"{place}.preference")
    if affinity.HasField("pod_affinity"):
        yield from _validate_pod_affinity(affinity.pod_affinity, f"{path}.podAffinity")
    if affinity.HasField("pod_anti_affinity"):
        yield from _validate_pod_affinity(affinity.pod_anti_affinity, f"{path}.podAntiAffinity")


def _validate_pod_affinity(affinity: corev1.PodAffinity | corev1.PodAntiAffinity, path: str) -> Errors:
    for index, term in enumerate(affinity.required_during_scheduling_ignored_during_execution):
        yield from _validate_term(term, f"{path}.{_REQUIRED}[{index}]")
    for index, weighted in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        place = f"{path}.{_PREFERRED}[{index}]"
        yield from _validate_weight(weighted.weight, place)
        yield from _validate_term(weighted.pod_affinity_term, f"{place}.podAffinityTerm")


def _validate_weight(weight: int, path: str) -> Errors:
    if not 1 <= weight <= 100:
        yield FieldError.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _validate_term(term: corev1.PodAffinityTerm, path: str) -> Errors:
    yield from validate_label_selector(term.label_selector, f"{path}.labelSelector")
    yield from validate_label_selector(term.namespace_selector, f"{path}.namespaceSelector")
    for namespace in term.namespaces:
        yield from check(f"{path}.namespace", namespace, names.dns_label(namespace))
    yield from _validate_label_keys(term, term.mismatch_label_keys, path)
    if not term.topology_key:
        yield FieldError.required(f"{path}.topologyKey", "can not be empty")
    yield from check(f"{path}.topologyKey", term.topology_key, names.qualified_name(term.topology_key))


def _validate_label_keys(
    term: corev1.PodAffinityTerm | corev1.TopologySpreadConstraint, mismatch: Sequence[str], path: str
) -> Errors:
    """Check the labels of the Pod itself whose values join the selector: those it must share, those it must not."""
    for field, keys in (("matchLabelKeys", term.match_label_keys), ("mismatchLabelKeys", mismatch)):
        if keys and not term.HasField("label_selector"):
            yield FieldError.forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set")
            continue
        for index, key in enumerate(keys):
            yield from check(f"{path}.{field}[{index}]", key, names.qualified_name(key))
    places = {key: index for index, key in enumerate(term.match_label_keys)}
    # One requirement on such a key is what the server itself added when the Pod was made.
    known = set(term.label_selector.match_labels)
    for requirement in term.label_selector.match_expressions:
        if requirement.key in places and requirement.key in known:
            text = "exists in both matchLabelKeys and labelSelector"
            yield FieldError.invalid(f"{path}[{places[requirement.key]}]", requirement.key, text)
        known.add(requirement.key)
    for key, index in places.items():
        if key in mismatch:
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield FieldError.invalid(f"{path}.matchLabelKeys[{index}]", key, text)


def validate_spread(constraints: Sequence[corev1.TopologySpreadConstraint], path: str) -> Errors:
    """Check topology spread constraints, one for each pair of key and consequence."""
    taken: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        if constraint.max_skew <= 0:
            yield FieldError.invalid(f"{here}.maxSkew", constraint.max_skew, "must be greater than zero")
        if not constraint.topology_key:
            yield FieldError.required(f"{here}.topologyKey", "can not be empty")
        if not constraint.when_unsatisfiable:
            yield FieldError.not_supported(f"{here}.whenUnsatisfiable", "", ("DoNotSchedule", "ScheduleAnyway"))
        pair = (constraint.topology_key, constraint.when_unsatisfiable)
        if pair in taken:
            yield FieldError.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        taken.add(pair)
        if constraint.HasField("min_domains"):
            yield from _validate_min_domains(constraint, f"{here}.minDomains")
        yield from _validate_label_keys(constraint, (), here)
        yield from validate_label_selector(constraint.label_selector, f"{here}.labelSelector")


def _validate_min_domains(constraint: corev1.TopologySpreadConstraint, path: str) -> Errors:
    if constraint.min_domains <= 0:
        yield FieldError.invalid(path, constraint.min_domains, "must be greater than zero")
    if constraint.when_unsatisfiable != "DoNotSchedule":
        text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {constraint.when_unsatisfiable}"
        yield FieldError.invalid(path, constraint.min_domains, text)


def validate_tolerations(tolerations: Sequence[corev1.Toleration], path: str) -> Errors:
    """Check tolerations."""
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        if toleration.key:
            yield from check(f"{here}.key", toleration.key, names.qualified_name(toleration.key))
        elif toleration.operator != "Exists":
            yield FieldError.invalid(
                f"{here}.operator",
                toleration.operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if toleration.HasField("toleration_seconds") and toleration.effect != "NoExecute":
            yield FieldError.invalid(
                f"{here}.effect", toleration.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
            )
        if toleration.operator in ("", "Equal"):
            yield from check(f"{here}.operator", toleration.value, names.label_value(toleration.value))
        elif toleration.operator == "Exists" and toleration.value:
            yield FieldError.invalid(
                f"{here}.operator", toleration.value, "value must be empty when `operator` is 'Exists'"
            )


def validate_taints(taints: Sequence[corev1.Taint], path: str) -> Errors:
    """Check the taints of a node, one for each pair of key and effect."""
    taken: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        here = f"{path}[{index}]"
        yield from check(f"{here}.key", taint.key, names.qualified_name(taint.key))
        yield from check(f"{here}.value", taint.value, names.label_value(taint.value))
        if not taint.effect:
            yield FieldError.required(f"{here}.effect")
        else:
            yield from supported(f"{here}.effect", taint.effect, EFFECTS)
        if (taint.key, taint.effect) in taken:
            yield FieldError.duplicate(here, f"{taint.key}:{taint.effect}")
        taken.add((taint.key, taint.effect))


def validate_names_once(values: Sequence[str], path: str, field: str, rule: Callable[[str], list[str]]) -> Errors:
    """Check a list of named things (gates) for grammar and repetition."""
    taken: set[str] = set()
    for index, value in enumerate(values):
        here = f"{path}[{index}]{'.' if field else ''}{field}"
        yield from required(here, value, rule)
        if value in taken:
            yield FieldError.duplicate(here, value)
        taken.add(value)
