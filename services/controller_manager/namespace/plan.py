"""What a Terminating Namespace still waits for, and how its conditions say so. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import is_being_deleted, time_from

FINALIZER = "kubernetes"


@dataclass(frozen=True, slots=True)
class Content:
    """What is left in a Namespace. remaining and finalizers: how many objects, by qualified resource or finalizer.

    failures: why content could not be deleted.
    """

    remaining: Mapping[str, int] = field(default_factory=dict)
    finalizers: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()


def is_ours(namespace: corev1.Namespace) -> bool:
    """Whether it is being deleted and waits for this controller."""
    return is_being_deleted(namespace) and FINALIZER in namespace.spec.finalizers


def released(namespace: corev1.Namespace) -> corev1.Namespace:
    """A copy without this controller's finalizer: the write that lets it go."""
    copy = corev1.Namespace()
    copy.CopyFrom(namespace)
    copy.spec.finalizers.remove(FINALIZER)
    return copy


def status(namespace: corev1.Namespace, content: Content, now: float) -> corev1.NamespaceStatus | None:
    """The status to write, None where it already says so. Counts in messages alone are not worth a write."""
    result = corev1.NamespaceStatus()
    result.CopyFrom(namespace.status)
    result.phase = "Terminating"
    changed = namespace.status.phase != result.phase
    for kind, is_true, reason, message in _conditions(content):
        changed |= _put(result, kind, "True" if is_true else "False", reason, message, now)
    return result if changed else None


def _conditions(content: Content) -> Iterable[tuple[str, bool, str, str]]:
    yield (
        "NamespaceDeletionDiscoveryFailure",
        False,
        "ResourcesDiscovered",
        "All resources successfully discovered",
    )
    yield (
        "NamespaceDeletionGroupVersionParsingFailure",
        False,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    )
    if content.failures:
        message = f"Failed to delete all resource types, {len(content.failures)} remaining: "
        yield "NamespaceDeletionContentFailure", True, "ContentDeletionFailed", message + ", ".join(content.failures)
    else:
        message = "All content successfully deleted, may be waiting on finalization"
        yield "NamespaceDeletionContentFailure", False, "ContentDeleted", message
    if content.remaining:
        parts = (f"{resource} has {count} resource instances" for resource, count in sorted(content.remaining.items()))
        message = f"Some resources are remaining: {', '.join(parts)}"
        yield "NamespaceContentRemaining", True, "SomeResourcesRemain", message
    else:
        yield "NamespaceContentRemaining", False, "ContentRemoved", "All content successfully removed"
    if content.finalizers:
        parts = (f"{name} in {count} resource instances" for name, count in sorted(content.finalizers.items()))
        message = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
        yield "NamespaceFinalizersRemaining", True, "SomeFinalizersRemain", message
    else:
        message = "All content-preserving finalizers finished"
        yield "NamespaceFinalizersRemaining", False, "ContentHasNoFinalizers", message


def _put(result: corev1.NamespaceStatus, kind: str, value: str, reason: str, message: str, now: float) -> bool:
    current = next((each for each in result.conditions if each.type == kind), None)
    if current is None:
        current = result.conditions.add(type=kind)
    elif (current.status, current.reason) == (value, reason):
        return False
    if current.status != value:
        current.last_transition_time.CopyFrom(time_from(now))
    current.status, current.reason, current.message = value, reason, message
    return True
