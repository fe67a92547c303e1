"""Rules for label selectors and node selectors."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.metadata import validate_labels
from navarch.services.api.validation.values import Errors, check

_NODE_FIELDS = ("metadata.name",)


def validate_label_selector(selector: metav1.LabelSelector, path: str) -> Errors:
    """Check a label selector."""
    yield from validate_labels(selector.match_labels, f"{path}.matchLabels")
    for index, requirement in enumerate(selector.match_expressions):
        yield from _validate_requirement(requirement, f"{path}.matchExpressions[{index}]")


def _validate_requirement(requirement: metav1.LabelSelectorRequirement, path: str) -> Errors:
    match requirement.operator:
        case "In" | "NotIn":
            if not requirement.values:
                yield FieldError.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if requirement.values:
                yield FieldError.forbidden(
                    f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        case operator:
            yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")
    yield from check(f"{path}.key", requirement.key, names.qualified_name(requirement.key))
    for index, value in enumerate(requirement.values):
        yield from check(f"{path}.values[{index}]", value, names.label_value(value))


def validate_node_selector(selector: corev1.NodeSelector, path: str) -> Errors:
    """Check the terms of a node selector; one of them has to match."""
    if not selector.node_selector_terms:
        yield FieldError.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(selector.node_selector_terms):
        yield from validate_node_selector_term(term, f"{path}.nodeSelectorTerms[{index}]")


def validate_node_selector_term(term: corev1.NodeSelectorTerm, path: str) -> Errors:
    """Check one term of a node selector."""
    for index, requirement in enumerate(term.match_expressions):
        here = f"{path}.matchExpressions[{index}]"
        yield from _validate_node_requirement(requirement.operator, requirement.values, here)
        yield from check(f"{here}.key", requirement.key, names.qualified_name(requirement.key))
    for index, requirement in enumerate(term.match_fields):
        here = f"{path}.matchFields[{index}]"
        if requirement.operator not in ("In", "NotIn"):
            yield FieldError.invalid(f"{here}.operator", requirement.operator, "not a valid selector operator")
        elif len(requirement.values) != 1:
            yield FieldError.required(
                f"{here}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
        if requirement.key not in _NODE_FIELDS:
            yield FieldError.invalid(f"{here}.key", requirement.key, "not a valid field selector key")


def _validate_node_requirement(operator: str, values: Sequence[str], path: str) -> Errors:
    match operator:
        case "In" | "NotIn" if not values:
            yield FieldError.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist" if values:
            yield FieldError.forbidden(
                f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        case "Gt" | "Lt" if len(values) != 1:
            yield FieldError.required(
                f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"
            )
        case "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt":
            pass
        case _:
            yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")
