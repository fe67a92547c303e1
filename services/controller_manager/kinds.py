"""Which kinds of the table the all-kinds controllers look after."""

from collections.abc import Iterator

from navarch.services.api.kinds import KINDS, Kind

# Events come and go by themselves, own nothing, and are the most written of all.
_IGNORED = frozenset(("events",))


def stored_kinds() -> Iterator[Kind]:
    """Every kind that can be listed, watched and deleted, each stored object once."""
    seen: set[str] = set()
    # Of several versions of one resource any shows all objects; the newest comes last in the table.
    for kind in reversed(list(KINDS)):
        if not {"list", "watch", "delete"} <= set(kind.verbs) or kind.resource in _IGNORED:
            continue
        if kind.key_prefix not in seen:
            seen.add(kind.key_prefix)
            yield kind


def namespaced_kinds() -> list[Kind]:
    """Every kind whose objects go with their Namespace, Events included."""
    stored = [kind for kind in stored_kinds() if kind.namespaced]
    events = [kind for kind in KINDS if kind.resource in _IGNORED and not kind.group]
    return [*stored, *events]
