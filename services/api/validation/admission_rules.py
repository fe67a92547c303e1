"""Rules shared by webhooks and policies of admission: which requests they are about."""

from collections.abc import Sequence

from navarch.protos.k8s.admissionregistration import v1_pb2 as admissionv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, required, supported

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_CONDITIONS_MAX = 64


def validate_rule(rule: admissionv1.RuleWithOperations, path: str) -> Errors:
    """Check one rule: operations on resources."""
    yield from _validate_words(rule.operations, f"{path}.operations", "operations", empty_allowed=True)
    for index, operation in enumerate(rule.operations):
        yield from supported(f"{path}.operations[{index}]", operation, OPERATIONS)
    resources = rule.rule
    yield from _validate_words(resources.api_groups, f"{path}.apiGroups", "API groups", empty_allowed=True)
    yield from _validate_words(resources.api_versions, f"{path}.apiVersions", "API versions")
    yield from _validate_resources(list(resources.resources), f"{path}.resources")
    if resources.HasField("scope"):
        yield from supported(f"{path}.scope", resources.scope, SCOPES)


def _validate_words(words: Sequence[str], path: str, what: str, *, empty_allowed: bool = False) -> Errors:
    """A list that is either the wildcard or has it not."""
    if not words:
        yield FieldError.required(path)
    if len(words) > 1 and "*" in words:
        yield FieldError.invalid(path, list(words), f"if '*' is present, must not specify other {what}")
    for index, word in enumerate(words):
        if not word and not empty_allowed:
            yield FieldError.required(f"{path}[{index}]")


def _validate_resources(resources: list[str], path: str) -> Errors:
    """Resources and subresources ("pods/status"), where a wildcard makes others superfluous."""
    if not resources:
        yield FieldError.required(path)
    whole: set[str] = set()
    parts: set[str] = set()
    for index, word in enumerate(resources):
        here = f"{path}[{index}]"
        resource, slash, part = word.partition("/")
        if not word:
            yield FieldError.required(here)
        if not slash:
            continue
        if resource in whole:
            yield FieldError.invalid(here, word, f"if '{resource}/*' is present, must not specify {word}")
        if part in parts:
            yield FieldError.invalid(here, word, f"if '*/{part}' is present, must not specify {word}")
        if part == "*":
            whole.add(resource)
        if resource == "*":
            parts.add(part)
    if len(resources) > 1 and "*/*" in resources:
        yield FieldError.invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and any("/" not in word and word != "*" for word in resources):
        text = "if '*' is present, must not specify other resources without subresources"
        yield FieldError.invalid(path, resources, text)


def validate_match_resources(match: admissionv1.MatchResources, path: str) -> Errors:
    """Check what a policy or its binding is about."""
    if not match.HasField("match_policy"):
        yield FieldError.required(f"{path}.matchPolicy")
    else:
        yield from supported(f"{path}.matchPolicy", match.match_policy, MATCH_POLICIES)
    yield from validate_label_selector(match.namespace_selector, f"{path}.namespaceSelector")
    yield from validate_label_selector(match.object_selector, f"{path}.objectSelector")
    for field, rules in (
        ("resourceRules", match.resource_rules),
        ("excludeResourceRules", match.exclude_resource_rules),
    ):
        for index, rule in enumerate(rules):
            here = f"{path}.{field}[{index}]"
            for place, name in enumerate(rule.resource_names):
                yield from check(f"{here}.resourceNames[{place}]", name, names.path_segment(name))
                if name in rule.resource_names[:place]:
                    yield FieldError.duplicate(f"{here}.resourceNames[{place}]", name)
            yield from validate_rule(rule.rule_with_operations, here)


def validate_match_conditions(conditions: Sequence[admissionv1.MatchCondition], path: str) -> Errors:
    """Check conditions by their form; their expressions are not compiled here."""
    if len(conditions) > _CONDITIONS_MAX:
        yield FieldError.too_many(path, len(conditions), _CONDITIONS_MAX)
    taken: set[str] = set()
    for index, condition in enumerate(conditions):
        here = f"{path}[{index}]"
        yield from required(f"{here}.expression", condition.expression.strip())
        yield from required(f"{here}.name", condition.name, names.qualified_name)
        if condition.name and condition.name in taken:
            yield FieldError.duplicate(f"{here}.name", condition.name)
        taken.add(condition.name)
