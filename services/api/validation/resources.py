"""Rules for resource amounts: names, signs, whole numbers, requests within limits, huge pages."""

from collections.abc import Mapping

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.quantity import Quantity
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check

ResourceList = Mapping[str, quantity_pb2.Quantity]

_QUANTITY_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_CONTAINER_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES = "hugepages-"


def validate_quantity(quantity: quantity_pb2.Quantity, path: str) -> Errors:
    """Check that a text is an amount, and not below zero."""
    amount = parsed(quantity)
    if amount is None:
        yield FieldError.invalid(path, quantity.string, _QUANTITY_FORMAT)
    elif amount < Quantity(0):
        yield FieldError.invalid(path, str(amount), "must be greater than or equal to 0")


def parsed(quantity: quantity_pb2.Quantity) -> Quantity | None:
    """The amount, or None for what is not one."""
    try:
        return Quantity.of(quantity)
    except ValueError:
        return None


def validate_resource_list(resources: ResourceList, path: str) -> Errors:
    """Check the amounts of a list whose names are not restricted: capacities of nodes."""
    for name in sorted(resources):
        here = f"{path}[{name}]"
        yield from check(here, name, names.qualified_name(name))
        yield from validate_amount(name, resources[name], here)


def validate_requirements(requirements: corev1.ResourceRequirements, path: str) -> Errors:
    """Check requests and limits of a container."""
    for field, resources in (("limits", requirements.limits), ("requests", requirements.requests)):
        for name in sorted(resources):
            here = f"{path}.{field}[{name}]"
            yield from validate_container_resource(name, here)
            yield from validate_amount(name, resources[name], here)
    yield from _validate_within_limits(requirements.requests, requirements.limits, path)
    named = {*requirements.limits, *requirements.requests}
    if any(name.startswith(_HUGE_PAGES) for name in named) and not named & {"cpu", "memory"}:
        yield FieldError.forbidden(path, "HugePages require cpu or memory")


def validate_container_resource(name: str, path: str) -> Errors:
    """Check the name of a resource that containers can use."""
    wrong = names.qualified_name(name)
    yield from check(path, name, wrong)
    if wrong or name in _CONTAINER_RESOURCES or name.startswith(_HUGE_PAGES):
        return
    if "/" not in name:
        yield FieldError.invalid(path, name, "must be a standard resource type or fully qualified")
        yield FieldError.invalid(path, name, "must be a standard resource for containers")
    elif not is_extended(name):
        yield FieldError.invalid(path, name, "doesn't follow extended resource name standard")


def validate_amount(name: str, quantity: quantity_pb2.Quantity, path: str) -> Errors:
    """Check the amount of a resource: not below zero, and whole where the resource comes in pieces."""
    yield from validate_quantity(quantity, path)
    amount = parsed(quantity)
    whole = name == "pods" or name.startswith(_HUGE_PAGES) or is_extended(name)
    if amount is not None and whole and Quantity.of(amount.value()) != amount:
        yield FieldError.invalid(path, str(amount), "must be an integer")


def _validate_within_limits(requests: ResourceList, limits: ResourceList, path: str) -> Errors:
    for name in sorted(requests):
        request = parsed(requests[name])
        exact = name.startswith(_HUGE_PAGES) or is_extended(name)
        if name not in limits:
            if exact:
                yield FieldError.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
            continue
        limit = parsed(limits[name])
        if request is None or limit is None:
            continue
        if exact and request != limit:
            yield FieldError.invalid(f"{path}.requests", str(request), f"must be equal to {name} limit of {limit}")
        elif request > limit:
            yield FieldError.invalid(
                f"{path}.requests", str(request), f"must be less than or equal to {name} limit of {limit}"
            )


def is_extended(name: str) -> bool:
    """Resources of other vendors: qualified by a domain that is not Kubernetes' own."""
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")
