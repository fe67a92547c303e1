"""Who writes, and what that means for metadata.managedFields. Every write but a deletion or binding comes by here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError, Invalid
from navarch.services.api.kinds import Kind
from navarch.services.api.managed_fields import managers, messages, walk
from navarch.services.api.managed_fields.apply import owned_changes
from navarch.services.api.managed_fields.managers import Managed
from navarch.services.api.managed_fields.walk import Changes
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target, WriteOptions
from navarch.services.apiserver.registry.documents import document_of, ownership_schema

SERVER = "kube-apiserver"
COMPONENT_PREFIX = "system:"
ANYBODY = "navarch"
Entries = Sequence[metav1.ManagedFieldsEntry]


def settled(user: User, options: WriteOptions, verb: str, *, is_apply: bool = False) -> WriteOptions:
    """The options with the name of the field manager in them. verb: "Create", "Update" or "Patch". Raises Invalid."""
    name = options.field_manager
    errors = []
    if is_apply and not name:
        errors.append(FieldError.required("fieldManager", "is required for apply patch"))
    if not is_apply and options.force is not None:
        errors.append(FieldError.forbidden("force", "may not be specified for non-apply patch"))
    if len(name.encode()) > managers.NAME_LIMIT:
        detail = f"may not be more than {managers.NAME_LIMIT} bytes"
        errors.append(FieldError("FieldValueTooLong", "fieldManager", "", detail))
    if not name.isprintable():
        errors.append(FieldError.invalid("fieldManager", name, "should only contain printable characters"))
    if errors:
        raise Invalid(f"{verb}Options.meta.k8s.io", "", errors)
    return options if name else replace(options, field_manager=_default_name(user, options.user_agent))


def _default_name(user: User, user_agent: str) -> str:
    """The manager's name where the request does not say: of its User-Agent, or of the component that makes it."""
    if user_agent:
        return managers.name_of_agent(user_agent)
    if user.node_name:
        return "kubelet"
    component = user.name.removeprefix(COMPONENT_PREFIX)
    return component if component != user.name and ":" not in component else ANYBODY


def own_created(core: Core, kind: Kind, message: Any, options: WriteOptions) -> list[metav1.ManagedFieldsEntry]:
    """The managedFields of a new object."""
    given = managers.decode_or_none(message.metadata.managed_fields)
    manager = managers.updater(options.field_manager or SERVER, kind.api_version)
    created = Changes(_contents(kind, message), {}, {})
    return managers.encode(managers.update(given, created, manager, int(core.clock.now()), kind.api_version))


def own_changed(core: Core, target: Target, old: Any, new: Any, given: Entries, options: WriteOptions) -> None:
    """Write down in `new` who owns what, now that it takes the place of `old`. given: what the request says of it."""
    kind = target.kind
    before: Entries = old.metadata.managed_fields
    if not target.subresource and given and given != list(before):
        if is_reset(given):
            new.metadata.ClearField("managed_fields")
            return
        before = given if _is_valid(given) else before
    changes = _changes(kind, old, new) if before else None
    # What is not tracked stays so, until somebody applies.
    if changes and (managed := managers.decode_or_none(before)):
        manager = managers.updater(options.field_manager or SERVER, kind.api_version, target.subresource)
        before = managers.encode(managers.update(managed, changes, manager, int(core.clock.now()), kind.api_version))
    put(new, before)


def put(message: Any, entries: Entries) -> None:
    """Put managedFields in place of those that the message has."""
    kept = list(entries)
    message.metadata.ClearField("managed_fields")
    message.metadata.managed_fields.extend(kept)


def keep_times(new: Any, old: Any) -> None:
    """Take back new times where nothing but times has changed, so that nothing has to be written."""
    entries = list(new.metadata.managed_fields)
    if _without_times(entries) == _without_times(old.metadata.managed_fields):
        put(new, old.metadata.managed_fields)
        if not same(new, old):
            put(new, entries)


def _without_times(entries: Entries) -> dict[tuple[str, ...], bytes]:
    return {
        (entry.manager, entry.operation, entry.api_version, entry.subresource): entry.fields_v1.raw for entry in entries
    }


def is_reset(given: Entries) -> bool:
    """Whether an update says `managedFields: [{}]`, which is how they are thrown away."""
    return len(given) == 1 and not given[0].ByteSize()


def _is_valid(given: Entries) -> bool:
    return bool(managers.decode_or_none(given))


def managed_of(core: Core, kind: Kind, message: Any) -> Managed:
    """The owners of a stored object before an apply; what nobody is known to own belongs to one made up."""
    managed = managers.decode_or_none(message.metadata.managed_fields)
    if managed:
        return managed
    manager = managers.updater(managers.BEFORE_FIRST_APPLY, kind.api_version)
    contents = Changes(_contents(kind, message), {}, {})
    return managers.update({}, contents, manager, int(core.clock.now()), kind.api_version)


def _contents(kind: Kind, message: Any) -> dict[str, Any]:
    if not kind.is_custom:
        return messages.contents(message)
    found = walk.all_of(document_of(kind, message), ownership_schema(kind))
    found = owned_changes(Changes(found, {}, {})).added
    return {key: child for key, child in found.items() if key not in (".", "f:status")}


def _changes(kind: Kind, old: Any, new: Any) -> Changes:
    if not kind.is_custom:
        return messages.compare(old, new)
    if old == new:
        return Changes({}, {}, {})
    documents = (document_of(kind, old), document_of(kind, new))
    return owned_changes(walk.compare(*documents, ownership_schema(kind)))
