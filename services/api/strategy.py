"""What the API server does with an object between decoding and storing it, per kind.

On create: default, prepare_for_create, (admission, names,) complete, validate. On update: default, prepare_for_update,
validate_update. On an update of the status subresource: default, prepare_for_status_update,
validate_status_update. Objects are changed in place; the stored object handed in beside them is not.
Nothing here knows the clock or makes identities: name, uid and creationTimestamp of a new object are set by
the caller before validate.

Metadata is treated alike for all kinds. Kinds with a status subresource keep status and the rest apart.
Everything else is in the hooks of the kind (strategies/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from google.protobuf.message import Message

from navarch.services.api.errors import FieldError
from navarch.services.api.kinds import Kind
from navarch.services.api.meta import metadata_of
from navarch.services.api.strategies.hooks import Hooks
from navarch.services.api.strategies.registry import hooks_of
from navarch.services.api.validation.metadata import validate_metadata, validate_metadata_update


class Strategy(Protocol):
    """The rules of one kind."""

    @property
    def needs_version(self) -> bool:
        """Whether an update has to say which version of the object it was made from."""
        ...

    def default(self, obj: Message) -> None:
        """Fill in what the object leaves open; idempotent."""

    def prepare_for_create(self, obj: Message) -> None:
        """Clear what a creator may not set and set what a new object starts with."""

    def complete(self, obj: Message, former_name: str = "") -> None:
        """Set what follows from the name and uid of a new object. former_name: a generated one that was taken."""

    def prepare_for_update(self, obj: Message, old: Message) -> None:
        """Take over what an updater may not change; count the generation."""

    def prepare_for_status_update(self, obj: Message, old: Message) -> None:
        """Take over everything but status and metadata."""

    def prepare_for_part_update(self, part: str, obj: Message, old: Message) -> None:
        """Take over everything but metadata and what this subresource (not status) is for."""

    def validate(self, obj: Message) -> list[FieldError]:
        """Check a new object."""

    def validate_update(self, obj: Message, old: Message) -> list[FieldError]:
        """Check a changed object."""

    def validate_status_update(self, obj: Message, old: Message) -> list[FieldError]:
        """Check a changed status."""

    def validate_part_update(self, part: str, obj: Message, old: Message) -> list[FieldError]:
        """Check what was changed through a subresource that is not status."""

    def warnings(self, obj: Message) -> Sequence[str]:
        """Things that are allowed and still worth telling the caller."""


@lru_cache(maxsize=4096)
def strategy_for(kind: Kind) -> Strategy:
    """Return the strategy of a kind; one without rules of its own gets those for metadata and status."""
    if kind.is_custom:
        from navarch.services.api.custom.strategy import CustomStrategy

        return CustomStrategy(kind)
    return ObjectStrategy(kind, hooks_of(kind))


@dataclass(frozen=True, slots=True)
class ObjectStrategy:
    """What holds for every object, with the hooks of one kind."""

    kind: Kind
    hooks: Hooks

    @property
    def needs_version(self) -> bool:
        """Whether an update has to say which version of the object it was made from."""
        return self.hooks.needs_version

    def default(self, obj: Message) -> None:
        """Fill in what the object leaves open; idempotent."""
        if self.hooks.default:
            self.hooks.default(obj)

    def prepare_for_create(self, obj: Message) -> None:
        """Start the object's life: no status, first generation, not being deleted."""
        metadata = metadata_of(obj)
        for name in ("deletion_timestamp", "deletion_grace_period_seconds", "self_link", "generation"):
            metadata.ClearField(name)
        metadata.ClearField("managed_fields")
        if self.hooks.generation:
            metadata.generation = 1
        if self._has_status() and not self.hooks.keeps_status_on_create:
            obj.ClearField("status")
        if self.hooks.prepare_create:
            self.hooks.prepare_create(obj)

    def complete(self, obj: Message, former_name: str = "") -> None:
        """Set what follows from the name and uid of a new object. former_name: a generated one that was taken."""
        if self.hooks.complete:
            self.hooks.complete(obj, former_name)

    def prepare_for_update(self, obj: Message, old: Message) -> None:
        """Keep system metadata and status as they are stored."""
        _keep_metadata(obj, old)
        if self._has_status():
            _keep(obj, old, "status")
        if self.hooks.prepare_update:
            self.hooks.prepare_update(obj, old)
        if self.hooks.generation and self.hooks.generation(obj, old):
            metadata_of(obj).generation += 1

    def prepare_for_status_update(self, obj: Message, old: Message) -> None:
        """Keep everything but status and the metadata that users own."""
        _keep_metadata(obj, old)
        for field in obj.DESCRIPTOR.fields:
            if field.name not in ("metadata", "status"):
                _keep(obj, old, field.name)
        if self.hooks.prepare_status:
            self.hooks.prepare_status(obj, old)

    def prepare_for_part_update(self, part: str, obj: Message, old: Message) -> None:
        """Keep system metadata and all that the subresource is not for."""
        _keep_metadata(obj, old)
        self.hooks.parts[part].prepare(obj, old)
        if self.hooks.generation and self.hooks.generation(obj, old):
            metadata_of(obj).generation += 1

    def validate(self, obj: Message) -> list[FieldError]:
        """Check a new object."""
        errors = validate_metadata(metadata_of(obj), self.kind.namespaced, self.hooks.name_rule)
        return [*errors, *self.hooks.validate(obj)]

    def validate_update(self, obj: Message, old: Message) -> list[FieldError]:
        """Check a changed object: by itself, and against what it was."""
        return [*self._validate_metadata_update(obj, old), *self.hooks.validate_update(obj, old)]

    def validate_status_update(self, obj: Message, old: Message) -> list[FieldError]:
        """Check a changed status."""
        return [*self._validate_metadata_update(obj, old), *self.hooks.validate_status(obj, old)]

    def validate_part_update(self, part: str, obj: Message, old: Message) -> list[FieldError]:
        """Check what was changed through a subresource that is not status."""
        return [*self._validate_metadata_update(obj, old), *self.hooks.parts[part].validate(obj, old)]

    def warnings(self, obj: Message) -> Sequence[str]:
        """Things that are allowed and still worth telling the caller."""
        return self.hooks.warnings(obj)

    def _validate_metadata_update(self, obj: Message, old: Message) -> list[FieldError]:
        return [
            *validate_metadata(metadata_of(obj), self.kind.namespaced, self.hooks.name_rule),
            *validate_metadata_update(metadata_of(obj), metadata_of(old)),
        ]

    def _has_status(self) -> bool:
        return self.kind.subresource("status") is not None


def _keep_metadata(obj: Message, old: Message) -> None:
    """Restore what clients may leave out or may not change; validation refuses what then still differs."""
    new_metadata, old_metadata = metadata_of(obj), metadata_of(old)
    for name in ("managed_fields", "self_link"):
        new_metadata.ClearField(name)
    _keep(new_metadata, old_metadata, "generation")
    for name in ("uid", "namespace"):
        if not getattr(new_metadata, name):
            _keep(new_metadata, old_metadata, name)
    if not new_metadata.creation_timestamp.seconds:
        _keep(new_metadata, old_metadata, "creation_timestamp")
    # Deletion is asked for with Delete, and cannot be taken back.
    for name in ("deletion_timestamp", "deletion_grace_period_seconds"):
        if old_metadata.HasField(name) or not new_metadata.HasField(name):
            _keep(new_metadata, old_metadata, name)


def _keep(obj: Any, old: Any, name: str) -> None:
    obj.ClearField(name)
    field = obj.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(obj, name).MergeFrom(getattr(old, name))
    elif old.HasField(name):
        if field.message_type is None:
            setattr(obj, name, getattr(old, name))
        else:
            getattr(obj, name).CopyFrom(getattr(old, name))
