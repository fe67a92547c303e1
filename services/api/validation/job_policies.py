"""Rules for what a Job does when Pods fail or enough of them succeed."""

from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.services.api.errors import FieldError
from navarch.services.api.field_errors import OMITTED, quoted
from navarch.services.api.validation import names
from navarch.services.api.validation.indexes import IndexesError, count_indexes
from navarch.services.api.validation.values import Errors, check, non_negative

_RULES_MAX = 20
_CONDITIONS_MAX = 20
_EXIT_CODES_MAX = 255
_INDEXES_MAX_BYTES = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")


def _word(path: str, value: str, accepted: tuple[str, ...]) -> Errors:
    if not value:
        yield FieldError.required(path, f"valid values: [{' '.join(map(quoted, accepted))}]")
    elif value not in accepted:
        yield FieldError.not_supported(path, value, accepted)


def validate_failure_policy(spec: batchv1.JobSpec, path: str) -> Errors:
    """Check which failures of Pods mean what."""
    rules, pod = spec.pod_failure_policy.rules, spec.template.spec
    if len(rules) > _RULES_MAX:
        yield FieldError.too_many(f"{path}.rules", len(rules), _RULES_MAX)
    containers = {container.name for container in (*pod.containers, *pod.init_containers)}
    for index, rule in enumerate(rules):
        here = f"{path}.rules[{index}]"
        yield from _word(f"{here}.action", rule.action, _ACTIONS)
        if rule.action == "FailIndex" and not spec.HasField("backoff_limit_per_index"):
            yield FieldError.invalid(f"{here}.action", rule.action, "requires the backoffLimitPerIndex to be set")
        if rule.HasField("on_exit_codes"):
            yield from _validate_exit_codes(rule.on_exit_codes, containers, f"{here}.onExitCodes")
        yield from _validate_conditions(rule, f"{here}.onPodConditions")
        if rule.HasField("on_exit_codes") and rule.on_pod_conditions:
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            yield FieldError.invalid(here, OMITTED, text)
        elif not rule.HasField("on_exit_codes") and not rule.on_pod_conditions:
            text = "specifying one of OnExitCodes and OnPodConditions is required"
            yield FieldError.invalid(here, OMITTED, text)


def _validate_exit_codes(
    requirement: batchv1.PodFailurePolicyOnExitCodesRequirement, containers: set[str], path: str
) -> Errors:
    yield from _word(f"{path}.operator", requirement.operator, _OPERATORS)
    if requirement.HasField("container_name") and requirement.container_name not in containers:
        text = "must be one of the container or initContainer names in the pod template"
        yield FieldError.invalid(f"{path}.containerName", requirement.container_name, text)
    here, values = f"{path}.values", list(requirement.values)
    if not values:
        yield FieldError.invalid(here, values, "at least one value is required")
    elif len(values) > _EXIT_CODES_MAX:
        yield FieldError.too_many(here, len(values), _EXIT_CODES_MAX)
    taken: set[int] = set()
    for index, value in enumerate(values):
        if requirement.operator == "In" and value == 0:
            yield FieldError.invalid(f"{here}[{index}]", value, "must not be 0 for the In operator")
        if value in taken:
            yield FieldError.duplicate(f"{here}[{index}]", value)
        taken.add(value)
    if values != sorted(values):
        yield FieldError.invalid(here, values, "must be ordered")


def _validate_conditions(rule: batchv1.PodFailurePolicyRule, path: str) -> Errors:
    if len(rule.on_pod_conditions) > _CONDITIONS_MAX:
        yield FieldError.too_many(path, len(rule.on_pod_conditions), _CONDITIONS_MAX)
    for index, pattern in enumerate(rule.on_pod_conditions):
        yield from check(f"{path}[{index}].type", pattern.type, names.qualified_name(pattern.type))
        yield from _word(f"{path}[{index}].status", pattern.status, _STATUSES)


def validate_success_policy(spec: batchv1.JobSpec, path: str) -> Errors:
    """Check which indexes suffice."""
    rules = spec.success_policy.rules
    if not rules:
        yield FieldError.required(path, "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > _RULES_MAX:
        yield FieldError.too_many(path, len(rules), _RULES_MAX)
    for index, rule in enumerate(rules):
        yield from _validate_success_rule(rule, spec.completions, f"{path}[{index}]")


def _validate_success_rule(rule: batchv1.SuccessPolicyRule, completions: int, path: str) -> Errors:
    if not rule.HasField("succeeded_count") and not rule.HasField("succeeded_indexes"):
        yield FieldError.required(path, "at least one of succeededCount or succeededIndexes must be specified")
    total, here = 0, f"{path}.succeededIndexes"
    if rule.HasField("succeeded_indexes"):
        if len(rule.succeeded_indexes.encode()) > _INDEXES_MAX_BYTES:
            yield FieldError.too_long(here, "", _INDEXES_MAX_BYTES)
        try:
            total = count_indexes(rule.succeeded_indexes, completions)
        except IndexesError as error:
            yield FieldError.invalid(here, rule.succeeded_indexes, f"error parsing succeededIndexes: {error}")
    if rule.HasField("succeeded_count"):
        count, here = rule.succeeded_count, f"{path}.succeededCount"
        yield from non_negative(here, count)
        if count > completions:
            text = f"must be less than or equal to {completions} (the number of specified completions)"
            yield FieldError.invalid(here, count, text)
        if rule.HasField("succeeded_indexes") and count > total:
            text = (
                f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )
            yield FieldError.invalid(here, count, text)
