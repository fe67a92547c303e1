"""The rules of a custom kind, in the terms of `Strategy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf.message import Message

from navarch.services.api.custom import objects
from navarch.services.api.custom.rules import check_rules
from navarch.services.api.custom.structural import ABSENT
from navarch.services.api.custom.validation import BLOCKING, NOT_CHECKED, same_json, validate_value
from navarch.services.api.errors import FieldError
from navarch.services.api.kinds import Kind
from navarch.services.api.validation.metadata import validate_metadata, validate_metadata_update
from navarch.services.api.validation.names import dns_subdomain


@dataclass(frozen=True, slots=True)
class CustomStrategy:
    """Defaults, prunes, validates, and keeps status and the rest apart where the kind has a status subresource."""

    kind: Kind
    # Two updates from one version must not both succeed.
    needs_version: bool = field(default=True)

    def default(self, obj: Message) -> None:
        """Fill in what the object leaves open; idempotent."""
        message: Any = obj
        objects.settle(message, self.kind)
        objects.fill_in(message, self.kind)

    def prepare_for_create(self, obj: Message) -> None:
        """Start the object's life: no status, first generation, not being deleted."""
        message: Any = obj
        for name in ("deletion_timestamp", "deletion_grace_period_seconds", "self_link", "managed_fields"):
            message.metadata.ClearField(name)
        message.metadata.generation = 1
        if self.kind.custom.has_status:
            content = objects.content_of(message)
            if content.pop("status", ABSENT) is not ABSENT:
                objects.set_content(message, content)
                objects.fill_in(message, self.kind)

    def complete(self, obj: Message, former_name: str = "") -> None:
        """Nothing follows from the name of a custom object."""

    def prepare_for_update(self, obj: Message, old: Message) -> None:
        """Keep system metadata and status as they are stored; count the generation."""
        new: Any = obj
        stored: Any = old
        keep_metadata(new, stored)
        content, before = objects.content_of(new), objects.content_of(stored)
        if self.kind.custom.has_status:
            content.pop("status", None)
            if "status" in before:
                content["status"] = before["status"]
            objects.set_content(new, content)
        if not same_json(self._counted(content), self._counted(before)):
            new.metadata.generation += 1

    def prepare_for_status_update(self, obj: Message, old: Message) -> None:
        """Keep everything but status; of metadata only the managed fields may change with it."""
        new: Any = obj
        stored: Any = old
        managed = list(new.metadata.managed_fields)
        content, before = objects.content_of(new), objects.content_of(stored)
        before.pop("status", None)
        if "status" in content:
            before["status"] = content["status"]
        new.metadata.CopyFrom(stored.metadata)
        new.metadata.ClearField("managed_fields")
        new.metadata.managed_fields.extend(managed)
        objects.set_content(new, before)

    def prepare_for_part_update(self, part: str, obj: Message, old: Message) -> None:
        """Keep everything: custom objects have no parts of their own but status."""
        obj.CopyFrom(old)

    def validate(self, obj: Message) -> list[FieldError]:
        """Check a new object."""
        message: Any = obj
        return [*self._metadata_errors(message), *self._content_errors(message, None, [])]

    def validate_update(self, obj: Message, old: Message) -> list[FieldError]:
        """Check a changed object."""
        new: Any = obj
        stored: Any = old
        return [
            *self._metadata_errors(new),
            *validate_metadata_update(new.metadata, stored.metadata),
            *self._content_errors(new, stored, []),
        ]

    def validate_status_update(self, obj: Message, old: Message) -> list[FieldError]:
        """Check a changed status."""
        return self.validate_update(obj, old)

    def validate_part_update(self, part: str, obj: Message, old: Message) -> list[FieldError]:
        """Check nothing: custom objects have no parts of their own but status."""
        return []

    def warnings(self, obj: Message) -> Sequence[str]:
        """Things that are allowed and still worth telling the caller."""
        deprecation = self.kind.custom.deprecation
        return [deprecation] if deprecation else []

    def _counted(self, content: dict[str, Any]) -> dict[str, Any]:
        """What a change of makes a new generation."""
        if not self.kind.custom.has_status:
            return content
        return {name: part for name, part in content.items() if name != "status"}

    def _metadata_errors(self, message: Any) -> list[FieldError]:
        return list(validate_metadata(message.metadata, self.kind.namespaced, dns_subdomain))

    def _content_errors(self, new: Any, old: Any, warnings: list[str]) -> list[FieldError]:
        schema = self.kind.custom.schema
        if schema is None:
            return []
        value = objects.to_json(new)
        before = ABSENT if old is None else objects.to_json(old)
        errors = list(validate_value(value, schema, "", before))
        errors += self._scale_errors(value)
        if any(error.type in BLOCKING for error in errors):
            if schema.has_rules:
                errors.append(NOT_CHECKED)
        else:
            errors += check_rules(value, schema, before, warnings)
        return [error if error.field else replace(error, field="<nil>") for error in errors]

    def _scale_errors(self, value: dict[str, Any]) -> list[FieldError]:
        from navarch.services.api.custom.scale import scale_errors

        return scale_errors(value, self.kind.custom.scale)


def keep_metadata(new: Any, old: Any) -> None:
    """Restore what clients may leave out or may not change; validation refuses what then still differs."""
    mine, theirs = new.metadata, old.metadata
    mine.ClearField("self_link")
    mine.ClearField("managed_fields")
    mine.managed_fields.extend(theirs.managed_fields)
    mine.generation = theirs.generation
    for name in ("uid", "namespace"):
        if not getattr(mine, name):
            setattr(mine, name, getattr(theirs, name))
    if not mine.creation_timestamp.seconds:
        mine.creation_timestamp.CopyFrom(theirs.creation_timestamp)
    if theirs.HasField("deletion_timestamp"):
        mine.deletion_timestamp.CopyFrom(theirs.deletion_timestamp)
        mine.deletion_grace_period_seconds = theirs.deletion_grace_period_seconds
    else:
        mine.ClearField("deletion_timestamp")
        mine.ClearField("deletion_grace_period_seconds")
