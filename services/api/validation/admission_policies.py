"""Rules for admission policies and their bindings. Expressions are checked by their form only, not compiled."""

import re
from collections.abc import Sequence

from navarch.protos.k8s.admissionregistration import v1_pb2 as admissionv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.admission_rules import (
    FAILURE_POLICIES,
    validate_match_conditions,
    validate_match_resources,
)
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, required, supported

Policy = admissionv1.MutatingAdmissionPolicy | admissionv1.ValidatingAdmissionPolicy
Binding = admissionv1.MutatingAdmissionPolicyBinding | admissionv1.ValidatingAdmissionPolicyBinding

_ANNOTATIONS_MAX = 20
_ANNOTATION_EXPRESSION_MAX_BYTES = 5 * 1024
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = (
    *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
    *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
)


def validate_validating_policy(policy: admissionv1.ValidatingAdmissionPolicy) -> Errors:
    """Check a ValidatingAdmissionPolicy (its metadata aside)."""
    spec = policy.spec
    yield from _validate_policy(policy)
    if not spec.validations and not spec.audit_annotations:
        text = "validations or auditAnnotations must contain at least one item"
        yield FieldError.required("spec.validations", text)
        yield FieldError.required("spec.auditAnnotations", text)
    for index, validation in enumerate(spec.validations):
        yield from _validate_validation(validation, f"spec.validations[{index}]")
    if len(spec.audit_annotations) > _ANNOTATIONS_MAX:
        text = f"must not have more than {_ANNOTATIONS_MAX} auditAnnotations"
        yield FieldError.invalid("spec.auditAnnotations", len(spec.audit_annotations), text)
    yield from _validate_annotations(policy.metadata.name, spec.audit_annotations)


def validate_mutating_policy(policy: admissionv1.MutatingAdmissionPolicy) -> Errors:
    """Check a MutatingAdmissionPolicy (its metadata aside)."""
    yield from _validate_policy(policy)
    spec = policy.spec
    if not spec.mutations:
        yield FieldError.required("spec.mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(spec.mutations):
        yield from _validate_mutation(mutation, f"spec.mutations[{index}]")
    if not spec.reinvocation_policy:
        yield FieldError.required("spec.reinvocationPolicy")
    else:
        yield from supported("spec.reinvocationPolicy", spec.reinvocation_policy, ("IfNeeded", "Never"))


def _validate_policy(policy: Policy) -> Errors:
    spec = policy.spec
    yield from supported("spec.failurePolicy", spec.failure_policy, FAILURE_POLICIES)
    if spec.HasField("param_kind"):
        yield from _validate_param_kind(spec.param_kind, "spec.paramKind")
    if not spec.HasField("match_constraints"):
        yield FieldError.required("spec.matchConstraints")
    else:
        yield from validate_match_resources(spec.match_constraints, "spec.matchConstraints")
        if not spec.match_constraints.resource_rules:
            yield FieldError.required("spec.matchConstraints.resourceRules")
    yield from validate_match_conditions(spec.match_conditions, "spec.matchConditions")
    for index, variable in enumerate(spec.variables):
        here = f"spec.variables[{index}]"
        if not variable.name.strip():
            yield FieldError.required(f"{here}.name", "name is not specified")
        elif not _IDENTIFIER.fullmatch(variable.name) or variable.name in _RESERVED:
            yield FieldError.invalid(f"{here}.name", variable.name, "name is not a valid CEL identifier")
        if not variable.expression.strip():
            yield FieldError.required(f"{here}.expression", "expression is not specified")


def _validate_param_kind(kind: admissionv1.ParamKind, path: str) -> Errors:
    here = f"{path}.apiVersion"
    group, _, version = kind.api_version.rpartition("/")
    if not kind.api_version:
        yield FieldError.required(here)
    elif "/" in group:
        text = f"unexpected GroupVersion string: {kind.api_version}"
        yield FieldError.invalid(here, kind.api_version, text)
    else:
        if group and (wrong := names.dns_subdomain(group)):
            yield FieldError.invalid(here, group, ",".join(wrong))
        if not version:
            yield FieldError.invalid(here, kind.api_version, "version must be specified")
        elif wrong := names.dns_1035_label(version):
            yield FieldError.invalid(here, version, ",".join(wrong))
    if not kind.kind:
        yield FieldError.required(f"{path}.kind")
    elif wrong := names.dns_1035_label(kind.kind.lower()):
        text = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
        yield FieldError.invalid(f"{path}.kind", kind.kind, text)


def _validate_validation(validation: admissionv1.Validation, path: str) -> Errors:
    expression, message = validation.expression.strip(), validation.message.strip()
    if not expression:
        yield FieldError.required(f"{path}.expression", "expression is not specified")
    if validation.message_expression and not validation.message_expression.strip():
        text = "must be non-empty if specified"
        yield FieldError.invalid(f"{path}.messageExpression", validation.message_expression, text)
    if validation.message and not message:
        text = "message must be non-empty if specified"
        yield FieldError.invalid(f"{path}.message", validation.message, text)
    elif _has_newlines(message):
        yield FieldError.invalid(f"{path}.message", validation.message, "message must not contain line breaks")
    elif _has_newlines(expression) and not message:
        text = "message must be specified if expression contains line breaks"
        yield FieldError.required(f"{path}.message", text)
    if validation.HasField("reason"):
        yield from supported(f"{path}.reason", validation.reason, _REASONS)


def _has_newlines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _validate_annotations(policy: str, annotations: Sequence[admissionv1.AuditAnnotation]) -> Errors:
    taken: set[str] = set()
    for index, annotation in enumerate(annotations):
        here = f"spec.auditAnnotations[{index}]"
        key = f"{policy}/{annotation.key}"
        yield from check(f"{here}.key", key, names.qualified_name(key))
        expression = annotation.value_expression.strip()
        if not expression:
            yield FieldError.required(f"{here}.valueExpression", "valueExpression is not specified")
        elif len(expression.encode()) > _ANNOTATION_EXPRESSION_MAX_BYTES:
            text = f"must not exceed {_ANNOTATION_EXPRESSION_MAX_BYTES} bytes in length"
            yield FieldError.required(f"{here}.valueExpression", text)
        if annotation.key in taken:
            yield FieldError.duplicate(f"{here}.key", annotation.key)
        taken.add(annotation.key)


def _validate_mutation(mutation: admissionv1.Mutation, path: str) -> Errors:
    """A mutation has the member that its type names, and no other."""
    members = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    if not mutation.patch_type:
        yield FieldError.required(f"{path}.patchType")
        return
    yield from supported(f"{path}.patchType", mutation.patch_type, members)
    bodies = {
        "ApplyConfiguration": mutation.apply_configuration if mutation.HasField("apply_configuration") else None,
        "JSONPatch": mutation.json_patch if mutation.HasField("json_patch") else None,
    }
    for type, body in bodies.items():
        here = f"{path}.{members[type]}"
        if type != mutation.patch_type:
            if body is not None:
                text = f"must not specify {members[type]} when patchType is {mutation.patch_type}"
                yield FieldError.invalid(here, {"expression": body.expression}, text)
        elif body is None:
            yield FieldError.required(here, f"must be specified when patchType is {type}")
        elif not body.expression.strip():
            yield FieldError.required(f"{here}.expression", "expression is not specified")


def validate_binding(binding: Binding) -> Errors:
    """Check the binding of a policy (its metadata aside)."""
    spec = binding.spec
    yield from required("spec.policyName", spec.policy_name, names.dns_subdomain)
    if spec.HasField("param_ref"):
        yield from _validate_param_ref(spec.param_ref, "spec.paramRef")
    if spec.HasField("match_resources"):
        # Kubernetes misspells the field.
        yield from validate_match_resources(spec.match_resources, "spec.matchResouces")
    if isinstance(binding, admissionv1.ValidatingAdmissionPolicyBinding):
        yield from _validate_actions(list(binding.spec.validation_actions), "spec.validationActions")


def _validate_param_ref(ref: admissionv1.ParamRef, path: str) -> Errors:
    exclusive = "name and selector are mutually exclusive"
    if ref.name:
        yield from check(f"{path}.name", ref.name, names.path_segment(ref.name))
        if ref.HasField("selector"):
            yield FieldError.forbidden(f"{path}.name", exclusive)
    if ref.HasField("selector"):
        yield from validate_label_selector(ref.selector, f"{path}.selector")
        if ref.name:
            yield FieldError.forbidden(f"{path}.selector", exclusive)
    elif not ref.name:
        yield FieldError.required(path, "one of name or selector must be specified")
    if not ref.parameter_not_found_action:
        yield FieldError.required(f"{path}.parameterNotFoundAction")
    else:
        action = ref.parameter_not_found_action
        yield from supported(f"{path}.parameterNotFoundAction", action, ("Deny", "Allow"))


def _validate_actions(actions: list[str], path: str) -> Errors:
    for index, action in enumerate(actions):
        yield from supported(f"{path}[{index}]", action, _ACTIONS)
        if action in actions[:index]:
            yield FieldError.duplicate(f"{path}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the "
            "API response and headers serves no purpose)"
        )
        yield FieldError.invalid(path, actions, text)
    if not actions:
        yield FieldError.required(path, "at least one validation action is required")


def validate_policy_status(
    new: admissionv1.ValidatingAdmissionPolicy, _: admissionv1.ValidatingAdmissionPolicy
) -> Errors:
    """Check what type checking found."""
    for index, warning in enumerate(new.status.type_checking.expression_warnings):
        here = f"status.typeChecking.expressionWarnings[{index}]"
        yield from required(f"{here}.warning", warning.warning)
        yield from required(f"{here}.fieldRef", warning.field_ref.strip())
