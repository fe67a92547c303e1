"""Rules for roles and their bindings."""

from collections.abc import Sequence

from navarch.protos.k8s.rbac import v1_pb2 as rbacv1
from navarch.services.api.codec import to_json
from navarch.services.api.defaults.rbac import GROUP
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, required, supported

Binding = rbacv1.RoleBinding | rbacv1.ClusterRoleBinding


def validate_role(role: rbacv1.Role) -> Errors:
    """Check a Role (its metadata aside)."""
    yield from _validate_rules(role.rules, namespaced=True)


def validate_cluster_role(role: rbacv1.ClusterRole) -> Errors:
    """Check a ClusterRole (its metadata aside)."""
    yield from _validate_rules(role.rules, namespaced=False)
    if not role.HasField("aggregation_rule"):
        return
    path = "aggregationRule.clusterRoleSelectors"
    if not role.aggregation_rule.cluster_role_selectors:
        yield FieldError.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(role.aggregation_rule.cluster_role_selectors):
        yield from validate_label_selector(selector, f"{path}[{index}]")


def _validate_rules(rules: Sequence[rbacv1.PolicyRule], namespaced: bool) -> Errors:
    for index, rule in enumerate(rules):
        here = f"rules[{index}]"
        if not rule.verbs:
            yield FieldError.required(f"{here}.verbs", "verbs must contain at least one value")
        if rule.non_resource_urls:
            yield from _validate_urls(rule, namespaced, f"{here}.nonResourceURLs")
            continue
        if not rule.api_groups:
            yield FieldError.required(f"{here}.apiGroups", "resource rules must supply at least one api group")
        if not rule.resources:
            yield FieldError.required(f"{here}.resources", "resource rules must supply at least one resource")
        if rule.resource_names and len(rule.resources) > 1:
            yield FieldError.required(f"{here}.resourceNames", "resource names cannot apply to multiple resources")


def _validate_urls(rule: rbacv1.PolicyRule, namespaced: bool, path: str) -> Errors:
    urls = list(rule.non_resource_urls)
    if namespaced:
        yield FieldError.invalid(path, urls, "namespaced rules cannot apply to non-resource URLs")
    if rule.api_groups or rule.resources or rule.resource_names:
        yield FieldError.invalid(path, urls, "rules cannot apply to both regular resources and non-resource URLs")


def validate_binding(binding: Binding) -> Errors:
    """Check a RoleBinding or ClusterRoleBinding (its metadata aside)."""
    namespaced = isinstance(binding, rbacv1.RoleBinding)
    ref = binding.role_ref
    yield from supported("roleRef.apiGroup", ref.api_group, [GROUP])
    yield from supported("roleRef.kind", ref.kind, ["Role", "ClusterRole"] if namespaced else ["ClusterRole"])
    yield from required("roleRef.name", ref.name, names.path_segment)
    for index, subject in enumerate(binding.subjects):
        yield from _validate_subject(subject, namespaced, f"subjects[{index}]")


def _validate_subject(subject: rbacv1.Subject, namespaced: bool, path: str) -> Errors:
    if not subject.name:
        yield FieldError.required(f"{path}.name")
    match subject.kind:
        case "ServiceAccount":
            if subject.name:
                yield from check(f"{path}.name", subject.name, names.dns_subdomain(subject.name))
            if subject.api_group:
                yield FieldError.not_supported(f"{path}.apiGroup", subject.api_group, [""])
            if not namespaced and not subject.namespace:
                yield FieldError.required(f"{path}.namespace")
        case "User" | "Group":
            if not subject.name:
                yield FieldError.invalid(f"{path}.name", "", f"{subject.kind.lower()} name cannot be empty")
            yield from supported(f"{path}.apiGroup", subject.api_group, [GROUP])
        case kind:
            yield FieldError.not_supported(f"{path}.kind", kind, ["ServiceAccount", "User", "Group"])


def validate_binding_update(new: Binding, old: Binding) -> Errors:
    """Check a changed binding: it stays with its role."""
    yield from validate_binding(new)
    if not same(new.role_ref, old.role_ref):
        yield FieldError.invalid("roleRef", to_json(new.role_ref), "cannot change roleRef")
