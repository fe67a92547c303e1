"""What may change in a Pod through its subresources: ephemeral containers joining it, resources of containers."""

from collections.abc import Iterator, Mapping, Sequence

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.field_errors import quoted
from navarch.services.api.pod_resources import qos_class
from navarch.services.api.validation.pods import MIRROR, validate_pod_content
from navarch.services.api.validation.values import Errors

_MUTABLE = ("cpu", "memory")


def validate_ephemeral_containers(new: corev1.Pod, old: corev1.Pod) -> Errors:
    """Check that ephemeral containers are only added."""
    if MIRROR in old.metadata.annotations:
        yield FieldError.forbidden("", "static pods do not support ephemeral containers")
        return
    yield from validate_pod_content(new)
    path = "spec.ephemeralContainers"
    known = {one.ephemeral_container_common.name: one for one in new.spec.ephemeral_containers}
    for one in old.spec.ephemeral_containers:
        name = one.ephemeral_container_common.name
        if name not in known:
            yield FieldError.forbidden(path, f"existing ephemeral containers {quoted(name)} may not be removed")
        elif not same(known[name], one):
            yield FieldError.forbidden(path, f"existing ephemeral containers {quoted(name)} may not be changed")


def validate_resize(new: corev1.Pod, old: corev1.Pod) -> Errors:
    """Check that CPU and memory of containers that keep running change, and nothing else."""
    if MIRROR in old.metadata.annotations:
        yield FieldError.forbidden("", "static pods cannot be resized")
        return
    if old.spec.os.name == "windows":
        yield FieldError.forbidden("", "windows pods cannot be resized")
        return
    if not _node_can_resize(old.status):
        yield FieldError.forbidden("", "Pod running on node without support for resize")
    yield from validate_pod_content(new)
    if not _same_containers(new.spec, old.spec):
        text = "containers may not be added or removed on resize"
        if _counts(new.spec) == _counts(old.spec):
            text = "containers may not be renamed or reordered on resize"
        yield FieldError.forbidden("spec", text)
        return
    yield from _validate_nothing_removed(new.spec, old.spec)
    quality = qos_class(new.spec)
    if old.status.qos_class and quality != old.status.qos_class:
        yield FieldError.invalid("spec", quality, "Pod QOS Class may not change as a result of resizing")
    yield from _validate_rest(new.spec, old.spec)


def _node_can_resize(status: corev1.PodStatus) -> bool:
    """A kubelet that can resize tells which resources a running container has."""
    running = [item for item in status.container_statuses if item.state.HasField("running")]
    return not running or running[0].HasField("resources")


def _counts(spec: corev1.PodSpec) -> tuple[int, int]:
    return len(spec.containers), len(spec.init_containers)


def _same_containers(new: corev1.PodSpec, old: corev1.PodSpec) -> bool:
    names = [[[one.name for one in group] for group in (spec.containers, spec.init_containers)] for spec in (new, old)]
    return names[0] == names[1]


def _pairs(new: corev1.PodSpec, old: corev1.PodSpec) -> Iterator[tuple[str, corev1.Container, corev1.Container]]:
    groups: tuple[tuple[str, Sequence[corev1.Container], Sequence[corev1.Container]], ...] = (
        ("containers", new.containers, old.containers),
        ("initContainers", new.init_containers, old.init_containers),
    )
    for field, ours, theirs in groups:
        for index, (container, before) in enumerate(zip(ours, theirs, strict=True)):
            yield f"spec.{field}[{index}].resources", container, before


def _validate_nothing_removed(new: corev1.PodSpec, old: corev1.PodSpec) -> Errors:
    for path, container, before in _pairs(new, old):
        for field in ("requests", "limits"):
            if set(getattr(before.resources, field)) - set(getattr(container.resources, field)):
                yield FieldError.forbidden(f"{path}.{field}", f"resource {field} cannot be removed")


def _validate_rest(new: corev1.PodSpec, old: corev1.PodSpec) -> Errors:
    spec = corev1.PodSpec()
    spec.CopyFrom(new)
    for path, container, before in _pairs(spec, old):
        is_init = path.startswith("spec.init") and before.restart_policy != "Always"
        if is_init and not same(container.resources, before.resources):
            yield FieldError.forbidden(path, "resources for non-sidecar init containers are immutable")
        _put_back(container.resources.requests, before.resources.requests)
        _put_back(container.resources.limits, before.resources.limits)
        container.ClearField("resize_policy")
        container.resize_policy.MergeFrom(before.resize_policy)
    if not same(spec, old):
        yield FieldError.forbidden("spec", "only cpu and memory resources are mutable")


def _put_back(amounts: Mapping[str, quantity_pb2.Quantity], before: Mapping[str, quantity_pb2.Quantity]) -> None:
    for name in _MUTABLE:
        amounts.pop(name, None)  # type: ignore[attr-defined]
        if name in before:
            amounts[name].CopyFrom(before[name])
