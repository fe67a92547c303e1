"""Rules for the resources of a Pod as a whole: its containers fit in."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.quantity import Quantity
from navarch.services.api.validation.resources import ResourceList, parsed, validate_requirements
from navarch.services.api.validation.values import Errors

_HUGE_PAGES = "hugepages-"


def validate_pod_resources(spec: corev1.PodSpec, path: str) -> Errors:
    """Check requests and limits of a Pod."""
    here = f"{path}.resources"
    if spec.os.name == "windows":
        yield FieldError.forbidden(here, "may not be set for a windows pod")
        return
    if spec.resources.claims:
        yield FieldError.forbidden(f"{here}.claims", "claims may not be set for Resources at pod-level")
    for field, resources in (("limits", spec.resources.limits), ("requests", spec.resources.requests)):
        for name in sorted(resources):
            if name not in ("cpu", "memory") and not name.startswith(_HUGE_PAGES):
                text = 'supported values: "cpu", "memory"'
                yield FieldError("FieldValueNotSupported", f"{here}.{field}[{name}]", name, text)
    yield from validate_requirements(spec.resources, here)
    yield from _validate_fit(spec, here)


def _validate_fit(spec: corev1.PodSpec, path: str) -> Errors:
    requests, limits = _together(spec, "requests"), _together(spec, "limits")
    for name, total in sorted(requests.items()):
        amount = _of(spec.resources.requests, name)
        if amount is not None and total > amount:
            text = f"must be greater than or equal to aggregate container requests of {total}"
            yield FieldError.invalid(f"{path}.requests[{name}]", str(amount), text)
    for name, total in sorted(limits.items()):
        amount = _of(spec.resources.limits, name)
        if name.startswith(_HUGE_PAGES) and amount is not None and total > amount:
            text = f"must be greater than or equal to aggregate container limits of {total}"
            yield FieldError.invalid(f"{path}.limits[{name}]", str(amount), text)
    for index, container in enumerate(spec.containers):
        for name in sorted(container.resources.limits):
            ours, amount = _of(container.resources.limits, name), _of(spec.resources.limits, name)
            if ours is not None and amount is not None and ours > amount:
                text = f"must be less than or equal to pod limits of {amount}"
                yield FieldError.invalid(f"{path}.containers[{index}][{name}].limits", str(ours), text)


def _of(resources: ResourceList, name: str) -> Quantity | None:
    return parsed(resources[name]) if name in resources else None


def _together(spec: corev1.PodSpec, side: str) -> dict[str, Quantity]:
    """What the containers need: all of them and the sidecars at once, or an init container beside earlier sidecars."""
    total: dict[str, Quantity] = {}
    for container in spec.containers:
        _add(total, getattr(container.resources, side))
    sidecars: dict[str, Quantity] = {}
    peaks: list[dict[str, Quantity]] = []
    for container in spec.init_containers:
        wanted = getattr(container.resources, side)
        if container.restart_policy == "Always":
            _add(total, wanted)
            _add(sidecars, wanted)
        peak = dict(sidecars)
        if container.restart_policy != "Always":
            _add(peak, wanted)
        peaks.append(peak)
    for peak in peaks:
        for name, amount in peak.items():
            total[name] = max(total.get(name, amount), amount)
    return total


def _add(total: dict[str, Quantity], resources: ResourceList) -> None:
    for name in resources:
        amount = parsed(resources[name])
        if amount is not None:
            total[name] = total[name] + amount if name in total else amount
