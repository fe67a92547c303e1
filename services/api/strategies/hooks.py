"""The places where a kind adds to what holds for every object."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.names import NameRule, dns_subdomain

# Hooks take messages of their own kind, so the common type is Any.
Change = Callable[[Any], None]
ChangeFrom = Callable[[Any, Any], None]
Check = Callable[[Any], Iterable[FieldError]]
CheckFrom = Callable[[Any, Any], Iterable[FieldError]]


def spec_changed(new: Any, old: Any) -> bool:
    """The usual reason for a new generation."""
    return not same(new.spec, old.spec)


def keep_metadata(new: Any, old: Any) -> None:
    """For an update of status: leave alone even the metadata that users own."""
    for name in ("labels", "annotations", "finalizers", "owner_references"):
        new.metadata.ClearField(name)
        getattr(new.metadata, name).MergeFrom(getattr(old.metadata, name))


@dataclass(frozen=True, slots=True)
class Part:
    """The rules of one subresource besides status through which an object itself is changed."""

    prepare: ChangeFrom
    """Takes over from the stored object all that the subresource may not change."""
    validate: CheckFrom = lambda _, __: ()


@dataclass(frozen=True, slots=True)
class Hooks:
    """One kind's own rules; every one of them may be left out.

    Arguments are the new object and, for updates, the stored one, which must not be changed.
    """

    name_rule: NameRule = dns_subdomain
    generation: Callable[[Any, Any], bool] | None = None
    """Whether an update makes a new generation; None for kinds that do not count them."""
    needs_version: bool = False
    """Whether an update has to say which version of the object it was made from."""
    keeps_status_on_create: bool = False
    """Nodes describe themselves when they register; all others start without a status."""
    default: Change | None = None
    prepare_create: Change | None = None
    complete: Callable[[Any, str], None] | None = None
    """Sets what follows from a new object's name and uid; with its former name, if that was made and was taken."""
    prepare_update: ChangeFrom | None = None
    prepare_status: ChangeFrom | None = None
    validate: Check = lambda _: ()
    validate_update: CheckFrom = lambda _, __: ()
    validate_status: CheckFrom = lambda _, __: ()
    warnings: Callable[[Any], Sequence[str]] = lambda _: ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    """By name, the subresources besides status that change the object."""
