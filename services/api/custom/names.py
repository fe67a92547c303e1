"""Which names a CustomResourceDefinition is given, and whether its kinds are served: what its status says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api.meta import find_condition, set_condition, time_from

CLEANUP_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
Definition = apiextensionsv1.CustomResourceDefinition


def is_true(crd: Definition, type: str) -> bool:
    """Whether a condition holds."""
    condition = find_condition(crd.status.conditions, type)
    return condition is not None and condition.status == "True"


def put_condition(crd: Definition, type: str, status: str, reason: str, message: str, now: float) -> None:
    """Write down a condition; its time is when its status changed."""
    condition = apiextensionsv1.CustomResourceDefinitionCondition(
        type=type, status=status, reason=reason, message=message
    )
    condition.last_transition_time.CopyFrom(time_from(now))
    set_condition(crd.status.conditions, condition)


def settle_names(crd: Definition, others: Iterable[Definition], now: float) -> None:
    """Accept the names that no other definition of the group has, and establish what has all of its names.

    crd: its status is changed. A definition that is established stays so.
    """
    taken, kinds = _taken(crd, others)
    accepted = apiextensionsv1.CustomResourceDefinitionNames()
    accepted.CopyFrom(crd.status.accepted_names)
    wanted, problem = crd.spec.names, ("", "")
    for field, reason, names in (
        ("plural", "PluralConflict", taken),
        ("singular", "SingularConflict", taken),
        ("kind", "KindConflict", kinds),
        ("list_kind", "ListKindConflict", kinds),
    ):
        value = getattr(wanted, field)
        if value in names:
            problem = (reason, f'"{value}" is already in use')
        else:
            setattr(accepted, field, value)
    used = sorted(set(wanted.short_names) & taken)
    if used:
        problem = ("ShortNamesConflict", ", ".join(f'"{name}" is already in use' for name in used))
    else:
        accepted.short_names[:] = wanted.short_names
    accepted.categories[:] = wanted.categories
    crd.status.accepted_names.CopyFrom(accepted)
    reason, message = problem
    if reason:
        put_condition(crd, "NamesAccepted", "False", reason, message, now)
        if not is_true(crd, "Established"):
            put_condition(crd, "Established", "False", "NotAccepted", "not all names are accepted", now)
        return
    put_condition(crd, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
    if not is_true(crd, "Established"):
        message = "the initial names have been accepted"
        put_condition(crd, "Established", "True", "InitialNamesAccepted", message, now)


def _taken(crd: Definition, others: Iterable[Definition]) -> tuple[set[str], set[str]]:
    """Resource names and kinds of the group that are accepted for other definitions."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other.spec.group != crd.spec.group or other.metadata.name == crd.metadata.name:
            continue
        names = other.status.accepted_names
        resources |= {names.plural, names.singular, *names.short_names}
        kinds |= {names.kind, names.list_kind}
    return resources - {""}, kinds - {""}


def begin_deletion(crd: Any, now: float) -> None:
    """Hold a definition that is being deleted until its objects are gone."""
    if CLEANUP_FINALIZER not in crd.metadata.finalizers:
        crd.metadata.finalizers.append(CLEANUP_FINALIZER)
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    put_condition(crd, "Terminating", "True", "InstanceDeletionPending", message, now)
