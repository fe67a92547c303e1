"""The scale subresource of a custom kind: replicas found and set by JSON paths."""

from __future__ import annotations

from typing import Any, Final

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api.custom import objects, paths
from navarch.services.api.custom.structural import ABSENT
from navarch.services.api.custom.versions import ScalePaths
from navarch.services.api.errors import FieldError, InternalError

_INT32_MAX: Final = 2**31 - 1


def read_scale(message: Any, where: ScalePaths, scale: autoscalingv1.Scale) -> None:
    """Fill in replicas and selector. Raises InternalError where the paths lead to something else."""
    content = objects.content_of(message)
    wanted = paths.read(content, where.spec_replicas)
    if wanted is ABSENT:
        raise InternalError(f"the spec replicas field {where.spec_replicas!r} does not exist")
    present = paths.read(content, where.status_replicas)
    for value, path in ((wanted, where.spec_replicas), (present, where.status_replicas)):
        if value is not ABSENT and type(value) is not int:
            raise InternalError(f"{path}: accessor error: {value!r} is not an integer")
    scale.spec.replicas = wanted
    scale.status.replicas = 0 if present is ABSENT else present
    if where.label_selector:
        selector = paths.read(content, where.label_selector)
        scale.status.selector = selector if isinstance(selector, str) else ""


def write_scale(message: Any, where: ScalePaths, replicas: int) -> None:
    """Set the wanted replicas. Raises InternalError where they have no place."""
    content = objects.content_of(message)
    try:
        paths.write(content, where.spec_replicas, replicas)
    except ValueError as failure:
        raise InternalError(str(failure)) from failure
    objects.set_content(message, content)


def scale_errors(value: dict[str, Any], where: ScalePaths | None) -> list[FieldError]:
    """What is wrong with the numbers that the scale subresource would show."""
    if where is None:
        return []
    errors = []
    for path in (where.spec_replicas, where.status_replicas):
        found = paths.read(value, path)
        if type(found) is int and not 0 <= found <= _INT32_MAX:
            limit = "non-negative integer" if found < 0 else f"less than or equal to {_INT32_MAX}"
            errors.append(FieldError.invalid(path.lstrip("."), found, f"should be a {limit}"))
    return errors
