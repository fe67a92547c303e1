"""The owners of an object's fields: metadata.managedFields, read, changed and written.

There is one entry for each manager, operation, apiVersion and subresource; for an applier the apiVersion does not
tell entries apart, so that it keeps its entry when it moves on to another version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.managed_fields.sets import (
    FieldSet,
    FieldSetError,
    difference,
    intersection,
    parse,
    serialize,
    union,
)
from navarch.services.api.managed_fields.walk import Changes

APPLY: Final = "Apply"
UPDATE: Final = "Update"
FIELDS_V1: Final = "FieldsV1"
# Who owned the fields before the first apply, and who owns what many updaters left behind.
BEFORE_FIRST_APPLY: Final = "before-first-apply"
ANCIENT: Final = "ancient-changes"
UPDATERS_LIMIT: Final = 10
NAME_LIMIT: Final = 128


class Manager(NamedTuple):
    """Who owns. api_version is "" for appliers."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        shown = f'"{self.name}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return f"{shown} using {self.api_version}" if self.operation == UPDATE else shown


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns. unix_s: when it last took something; None where that is not known."""

    fields: FieldSet
    api_version: str
    unix_s: int | None = None
    # The fields as they were read, if nothing has changed since.
    raw: bytes = b""


Managed = Mapping[Manager, Owned]


def applier(name: str, subresource: str = "") -> Manager:
    """The owner of what is applied under a name."""
    return Manager(name, APPLY, "", subresource)


def updater(name: str, api_version: str, subresource: str = "") -> Manager:
    """The owner of what is created, updated or patched under a name."""
    return Manager(name or "unknown", UPDATE, api_version, subresource)


def decode(entries: Iterable[metav1.ManagedFieldsEntry]) -> dict[Manager, Owned]:
    """Read managedFields. Raises FieldSetError for what is not as it has to be."""
    managed: dict[Manager, Owned] = {}
    for entry in entries:
        if entry.operation not in (APPLY, UPDATE):
            raise FieldSetError("operation must be `Apply` or `Update`")
        if not entry.api_version:
            raise FieldSetError("apiVersion must not be empty")
        if entry.fields_type != FIELDS_V1:
            raise FieldSetError(f'invalid fieldsType "{entry.fields_type}"')
        version = "" if entry.operation == APPLY else entry.api_version
        manager = Manager(entry.manager, entry.operation, version, entry.subresource)
        raw = entry.fields_v1.raw
        unix_s = entry.time.seconds if entry.HasField("time") else None
        managed[manager] = Owned(parse(raw), entry.api_version, unix_s, raw)
    return managed


def decode_or_none(entries: Iterable[metav1.ManagedFieldsEntry]) -> dict[Manager, Owned]:
    """Read managedFields; nothing where they cannot be read."""
    try:
        return decode(entries)
    except FieldSetError:
        return {}


def encode(managed: Managed) -> list[metav1.ManagedFieldsEntry]:
    """Write managedFields: appliers first, older entries first."""
    entries = []
    for manager, owned in sorted(managed.items(), key=_place):
        entry = metav1.ManagedFieldsEntry(
            manager=manager.name,
            operation=manager.operation,
            api_version=owned.api_version,
            fields_type=FIELDS_V1,
            subresource=manager.subresource,
        )
        if owned.unix_s is not None:
            entry.time.seconds, entry.time.nanos = owned.unix_s, 0
        entry.fields_v1.raw = owned.raw or serialize(owned.fields)
        entries.append(entry)
    return entries


def _place(item: tuple[Manager, Owned]) -> tuple[Any, ...]:
    manager, owned = item
    return manager.operation, owned.unix_s or 0, manager.name, owned.api_version, manager.subresource


def settle(managed: Managed, changes: Changes, taker: Manager) -> dict[Manager, Owned]:
    """All others' entries after the changes: what the taker took is theirs no more, what was removed is nobody's."""
    taken, removed = changes.taken, changes.removed
    out: dict[Manager, Owned] = {}
    for manager, owned in managed.items():
        if manager == taker:
            out[manager] = owned
            continue
        fields = difference(owned.fields, taken)
        if removed:
            fields = difference(fields, removed)
        if fields:
            out[manager] = owned if fields == owned.fields else replace(owned, fields=fields, raw=b"")
    return out


def update(managed: Managed, changes: Changes, taker: Manager, unix_s: int, api_version: str) -> Managed:
    """The entries after a create, update or patch by the taker; the same ones where nothing changed."""
    if not changes:
        return managed
    out = settle(managed, changes, taker)
    before = out.pop(taker, None)
    fields = {} if before is None else difference(before.fields, changes.removed)
    taken = changes.taken
    if taken:
        out[taker] = Owned(union(fields, taken), api_version, unix_s)
    elif before is not None and fields:
        out[taker] = before if fields == before.fields else replace(before, fields=fields, raw=b"")
    return capped(out)


def capped(managed: dict[Manager, Owned]) -> dict[Manager, Owned]:
    """At most UPDATERS_LIMIT updaters: the oldest of an apiVersion are thrown together."""
    updaters = [item for item in managed.items() if item[0].operation == UPDATE]
    excess = len(updaters) - UPDATERS_LIMIT
    if excess <= 0:
        return managed
    first: dict[str, Manager] = {}
    for manager, owned in sorted(updaters, key=lambda item: (item[1].unix_s or 0, item[0])):
        if excess <= 0:
            break
        version = owned.api_version
        bucket = updater(ANCIENT, version)
        if version not in first:
            first[version] = manager
            continue
        if bucket not in managed:
            managed[bucket] = managed.pop(first[version])
        elif manager == bucket:
            continue
        both = union(managed[bucket].fields, owned.fields)
        del managed[manager]
        managed[bucket] = Owned(both, version, owned.unix_s)
        excess -= 1
    return managed


def conflicts(managed: Managed, changes: Changes, taker: Manager) -> dict[Manager, FieldSet]:
    """What others own of what the changes take."""
    taken = changes.taken
    found = {manager: intersection(owned.fields, taken) for manager, owned in managed.items() if manager != taker}
    return {manager: fields for manager, fields in found.items() if fields}


def name_of_agent(user_agent: str) -> str:
    """The manager that a User-Agent stands for: what is before the slash, as far as it can be printed."""
    name = "".join(character for character in user_agent.partition("/")[0] if character.isprintable())
    return name.encode()[:NAME_LIMIT].decode(errors="ignore")
