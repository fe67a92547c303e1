"""Rules for what a namespace may use: LimitRanges and ResourceQuotas."""

from collections.abc import Mapping

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.quantity import Quantity
from navarch.services.api.validation import names
from navarch.services.api.validation.resources import (
    is_extended,
    parsed,
    validate_amount,
    validate_container_resource,
)
from navarch.services.api.validation.values import Errors, check, immutable, shown

_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_OBJECTS = (
    *("pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"),
    *("persistentvolumeclaims", "services.nodeports", "services.loadbalancers"),
)
_STANDARD = frozenset({*_COMPUTE, *_OBJECTS, "requests.storage", "storage"})
_QUOTA = frozenset(
    {
        *_COMPUTE,
        *_OBJECTS,
        "requests.storage",
        *(f"{side}.{name}" for side in ("requests", "limits") for name in _COMPUTE),
    }
)
_POD_SCOPED = frozenset(
    {"pods", *_COMPUTE, *(f"{side}.{name}" for side in ("requests", "limits") for name in _COMPUTE)}
)
_CLAIM_SCOPED = frozenset({"persistentvolumeclaims", "requests.storage"})
_SCOPES = frozenset(
    {
        *("Terminating", "NotTerminating", "BestEffort", "NotBestEffort"),
        *("PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"),
    }
)
_OPPOSITES = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_WITHOUT_VALUES = frozenset(
    {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"}
)


def _is_huge_pages(name: str) -> bool:
    return name.startswith(("hugepages-", "requests.hugepages-"))


def validate_resource_name(name: str, path: str) -> Errors:
    """Check the name of any resource."""
    wrong = names.qualified_name(name)
    yield from check(path, name, wrong)
    if not wrong and "/" not in name and name not in _STANDARD and not _is_huge_pages(name):
        yield FieldError.invalid(path, name, "must be a standard resource type or fully qualified")


def validate_limit_range(limit_range: corev1.LimitRange) -> Errors:
    """Check a LimitRange (its metadata aside): one item for each type."""
    taken: set[str] = set()
    for index, item in enumerate(limit_range.spec.limits):
        here = f"spec.limits[{index}]"
        wrong = names.qualified_name(item.type)
        yield from check(f"{here}.type", item.type, wrong)
        if not wrong and "/" not in item.type and item.type not in _LIMIT_TYPES:
            yield FieldError.invalid(f"{here}.type", item.type, "must be a standard limit type or fully qualified")
        if item.type in taken:
            yield FieldError.duplicate(f"{here}.type", item.type)
        taken.add(item.type)
        yield from _validate_item(item, here)


def _validate_item(item: corev1.LimitRangeItem, path: str) -> Errors:
    members: dict[str, Mapping[str, quantity_pb2.Quantity]] = {
        "max": item.max,
        "min": item.min,
        "default": item.default,
        "defaultRequest": item.default_request,
        "maxLimitRequestRatio": item.max_limit_request_ratio,
    }
    if item.type == "Pod":
        for field in ("default", "defaultRequest"):
            if members.pop(field):
                yield FieldError.forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
    rule = validate_container_resource if item.type in ("Pod", "Container") else validate_resource_name
    for field, amounts in members.items():
        for name in sorted(amounts):
            yield from rule(name, f"{path}.{field}[{name}]")
    if item.type == "PersistentVolumeClaim" and "storage" not in item.min and "storage" not in item.max:
        text = "either minimum or maximum storage value is required, but neither was provided"
        yield FieldError.required(f"{path}.limits", text)
    for name in sorted({name for amounts in members.values() for name in amounts}):
        known = {field: parsed(amounts[name]) for field, amounts in members.items() if name in amounts}
        yield from _validate_order(name, {field: amount for field, amount in known.items() if amount is not None}, path)


# Of one resource: what must not be greater than what, where the error goes, and how both are called.
_ORDER = (
    ("min", "max", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "default request value", "max value"),
    ("defaultRequest", "default", "defaultRequest", "default request value", "default limit value"),
    ("min", "default", "default", "min value", "default value"),
    ("default", "max", "default", "default value", "max value"),
)


def _validate_order(name: str, amounts: dict[str, Quantity], path: str) -> Errors:
    for low, high, field, low_text, high_text in _ORDER:
        if low in amounts and high in amounts and amounts[low] > amounts[high]:
            # Of the defaults for limits, Kubernetes shows the bound, not the value.
            value = amounts["min" if low == "min" else "max"] if field == "default" else amounts[field]
            text = f"{low_text} {amounts[low]} is greater than {high_text} {amounts[high]}"
            yield FieldError.invalid(f"{path}.{field}[{name}]", str(value), text)
    ratio, here = amounts.get("maxLimitRequestRatio"), f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None and ratio < Quantity.of(1):
        yield FieldError.invalid(here, str(ratio), f"ratio {ratio} is less than 1")
    if ratio is not None and "max" in amounts and amounts.get("min"):
        most = float(amounts["max"].decimal() / amounts["min"].decimal())
        if float(ratio.decimal()) > most:
            yield FieldError.invalid(here, str(ratio), f"ratio {ratio} is greater than max/min = {most:f}")
    default, request = amounts.get("default"), amounts.get("defaultRequest")
    if (
        default is not None
        and request is not None
        and default != request
        and (is_extended(name) or _is_huge_pages(name))
    ):
        text = f"default value {default} must equal to defaultRequest value {request} in {name}"
        yield FieldError.invalid(f"{path}.defaultRequest[{name}]", str(request), text)


def validate_quota(quota: corev1.ResourceQuota) -> Errors:
    """Check a ResourceQuota (its metadata aside)."""
    spec = quota.spec
    yield from _validate_amounts(spec.hard, "spec.hard")
    yield from _validate_scopes(spec)
    for index, requirement in enumerate(spec.scope_selector.match_expressions):
        yield from _validate_requirement(requirement, spec, f"spec.scopeSelector.matchExpressions[{index}]")


def _validate_amounts(amounts: Mapping[str, quantity_pb2.Quantity], path: str) -> Errors:
    for name in sorted(amounts):
        here = f"{path}[{name}]"
        wrong = names.qualified_name(name)
        yield from check(here, name, wrong)
        if not wrong and "/" not in name and name not in _QUOTA and not _is_huge_pages(name):
            yield FieldError.invalid(here, name, "must be a standard resource for quota")
        yield from validate_amount(name if name not in _OBJECTS else "pods", amounts[name], here)


def _fits(scope: str, name: str) -> bool:
    """Whether what a scope selects has a resource at all."""
    match scope:
        case "BestEffort":
            return name == "pods"
        case "VolumeAttributesClass":
            return name in _CLAIM_SCOPED
        case "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity":
            return name in _POD_SCOPED or _is_huge_pages(name)
    return True


def _validate_scopes(spec: corev1.ResourceQuotaSpec) -> Errors:
    here, scopes = "spec.scopes", list(spec.scopes)
    for scope in scopes:
        if scope not in _SCOPES:
            yield FieldError.invalid(here, scopes, "unsupported scope")
        for name in sorted(spec.hard):
            if name in _QUOTA and not _fits(scope, name):
                yield FieldError.invalid(here, scopes, "unsupported scope applied to resource")
    for left, right in _OPPOSITES:
        if left in scopes and right in scopes:
            yield FieldError.invalid(here, scopes, "conflicting scopes")


def _validate_requirement(
    requirement: corev1.ScopedResourceSelectorRequirement, spec: corev1.ResourceQuotaSpec, path: str
) -> Errors:
    scope, operator, values = requirement.scope_name, requirement.operator, list(requirement.values)
    if scope not in _SCOPES:
        yield FieldError.invalid(f"{path}.scopeName", scope, "unsupported scope")
    for name in sorted(spec.hard):
        if name in _QUOTA and not _fits(scope, name):
            yield FieldError.invalid(
                "spec.scopeSelector", shown(spec.scope_selector), "unsupported scope applied to resource"
            )
    if scope in _WITHOUT_VALUES and operator != "Exists":
        text = (
            "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
            "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
            "ResourceQuotaScopeCrossNamespacePodAffinity"
        )
        yield FieldError.invalid(f"{path}.operator", operator, text)
    match operator:
        case "In" | "NotIn":
            if not values:
                text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                yield FieldError.required(f"{path}.values", text)
        case "Exists" | "DoesNotExist":
            if values:
                text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                yield FieldError.invalid(f"{path}.values", values, text)
        case _:
            yield FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator")


def validate_quota_update(new: corev1.ResourceQuota, old: corev1.ResourceQuota) -> Errors:
    """Check a changed ResourceQuota: what it counts stays."""
    yield from validate_quota(new)
    yield from immutable("spec.scopes", sorted(new.spec.scopes), sorted(old.spec.scopes))


def validate_quota_status(new: corev1.ResourceQuota, _: corev1.ResourceQuota) -> Errors:
    """Check what is reported as used."""
    if not new.metadata.resource_version:
        yield FieldError.required("resourceVersion")
    yield from _validate_amounts(new.status.hard, "status.hard")
    yield from _validate_amounts(new.status.used, "status.used")
