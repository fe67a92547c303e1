"""Small questions that everyone asks of object metadata: keys, times, owners, conditions.

Times are unix seconds (float) inside the system and Time or MicroTime in objects. Nothing here reads a
clock; the present is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.kinds import CUSTOM_OBJECT, KINDS


class ConditionLike(Protocol):
    """The members that conditions of all kinds have."""

    type: str
    status: str
    reason: str
    message: str


C = TypeVar("C", bound=ConditionLike)


def metadata_of(obj: Message) -> metav1.ObjectMeta:
    """The ObjectMeta of an object whose class is not known to the type checker."""
    metadata: metav1.ObjectMeta = obj.metadata  # type: ignore[attr-defined]
    return metadata


def key_of(obj: Any) -> str:
    """ "namespace/name", or the name of a cluster-scoped object."""
    metadata = obj.metadata
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else str(metadata.name)


def split_key(key: str) -> tuple[str, str]:
    """(namespace, name) of a key."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def time_from(unix_s: float) -> metav1.Time:
    """A moment as objects store it, in whole seconds."""
    # Both members are written, as Kubernetes writes them: an empty Time is "no time".
    return metav1.Time(seconds=int(unix_s // 1), nanos=0)


def micro_time_from(unix_s: float) -> metav1.MicroTime:
    """A moment in microseconds, as Leases and Events store it."""
    micros = round(unix_s * 1_000_000)
    return metav1.MicroTime(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def unix(time: metav1.Time | metav1.MicroTime) -> float:
    """Unix seconds of a moment; 0.0 where none is set."""
    return time.seconds + time.nanos / 1e9 if time.nanos else float(time.seconds)


def is_being_deleted(obj: Any) -> bool:
    """Whether deletion of the object was asked for."""
    return bool(obj.metadata.HasField("deletion_timestamp"))


def controller_of(obj: Any) -> metav1.OwnerReference | None:
    """The one owner that manages the object, or None."""
    references: Iterable[metav1.OwnerReference] = obj.metadata.owner_references
    return next((reference for reference in references if reference.controller), None)


def is_controlled_by(obj: Any, owner: Any) -> bool:
    """Whether that very owner (by uid) manages the object."""
    reference = controller_of(obj)
    return reference is not None and reference.uid == owner.metadata.uid


def owner_reference(owner: Any, controller: bool = True) -> metav1.OwnerReference:
    """A reference to put on objects that belong to the owner."""
    # A custom object says itself what it is.
    kind = owner if owner.DESCRIPTOR.full_name == CUSTOM_OBJECT else KINDS.of(owner)
    reference = metav1.OwnerReference(
        api_version=kind.api_version, kind=kind.kind, name=owner.metadata.name, uid=owner.metadata.uid
    )
    if controller:
        reference.controller = reference.block_owner_deletion = True
    return reference


def find_condition(conditions: Iterable[C], type: str) -> C | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type), None)


def condition_is(conditions: Iterable[ConditionLike], type: str, status: str = "True") -> bool:
    """Whether the condition of that type is there with that status."""
    return any(condition.type == type and condition.status == status for condition in conditions)


def set_condition(conditions: MutableSequence[C], condition: C) -> bool:
    """Put a condition in place of the one of its type; say whether anything but times changed.

    ``last_transition_time`` is kept from the old condition while the status stays the same.
    """
    old: Any = find_condition(conditions, condition.type)
    new: Any = condition
    if old is None:
        conditions.append(condition)
        return True
    changed = (old.status, old.reason, old.message) != (new.status, new.reason, new.message)
    transition = (
        None if old.status != new.status else metav1.Time.FromString(old.last_transition_time.SerializeToString())
    )
    old.CopyFrom(new)
    if transition is not None:
        old.last_transition_time.CopyFrom(transition)
    return changed


_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_YEAR: Final = 365 * _DAY


def age(then: metav1.Time | metav1.MicroTime, now: float) -> str:
    """How long ago something was, as tables show it: "42s", "3m10s", "5h", "12d"."""
    return human_duration(now - unix(then)) if then.HasField("seconds") else "<unknown>"


def human_duration(seconds: float) -> str:
    """A span in one or two units, coarser the longer it is."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    for limit, unit, small, letters in (
        (2 * _MINUTE, 1, 0, "s"),
        (10 * _MINUTE, _MINUTE, 1, "ms"),
        (3 * _HOUR, _MINUTE, 0, "m"),
        (8 * _HOUR, _HOUR, _MINUTE, "hm"),
        (2 * _DAY, _HOUR, 0, "h"),
        (8 * _DAY, _DAY, _HOUR, "dh"),
        (2 * _YEAR, _DAY, 0, "d"),
        (8 * _YEAR, _YEAR, _DAY, "yd"),
    ):
        if total < limit:
            rest = total % unit // small if small else 0
            return f"{total // unit}{letters[0]}" + (f"{rest}{letters[1]}" if rest else "")
    return f"{total // _YEAR}y"
