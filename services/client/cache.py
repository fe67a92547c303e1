"""An indexed copy of one kind's objects: the core of an informer, without I/O.

Fed with whole lists and single changes, it keeps the objects by key, keeps each index in step at a cost that
depends on the change alone, and tells what changed as (old, new) pairs. Objects are lent out, not copied:
readers must not change them. The mutation detector, for tests, keeps each object's bytes and finds those who
did.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import Generic

from navarch.services.api.meta import key_of, metadata_of
from navarch.services.client.requests import M

IndexFunction = Callable[[M], Iterable[str]]


class CacheMutated(AssertionError):
    """Somebody changed an object that the cache had lent."""


class Cache(Generic[M]):
    """Objects by key and by index values."""

    def __init__(self, indexers: Mapping[str, IndexFunction[M]], *, detect_mutation: bool = False) -> None:
        self._objects: dict[str, M] = {}
        self._indexers: dict[str, IndexFunction[M]] = {}
        self._indexes: dict[str, dict[str, dict[str, M]]] = {}
        # What each key was filed under: an object's own values may not be asked again once it was lent.
        self._filed: dict[str, dict[str, tuple[str, ...]]] = {}
        self._bytes: dict[str, bytes] | None = {} if detect_mutation else None
        self.add_indexers(indexers)

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: str) -> M | None:
        """The object of this key."""
        return self._objects.get(key)

    def list(self) -> builtins.list[M]:
        """All objects, in no particular order."""
        return list(self._objects.values())

    def by_index(self, name: str, value: str) -> builtins.list[M]:
        """The objects for which the indexer of this name gave this value. Raises KeyError for an unknown index."""
        return list(self._indexes[name].get(value, {}).values())

    def index_values(self, name: str) -> builtins.list[str]:
        """The values under which an index holds objects."""
        return list(self._indexes[name])

    def add_indexers(self, indexers: Mapping[str, IndexFunction[M]]) -> None:
        """Add indexes, filing what is already here. Raises ValueError for a name that means something else."""
        for name, function in indexers.items():
            known = self._indexers.get(name)
            if known is not None and known is not function:
                raise ValueError(f"index {name!r} exists with another function")
            if known is None:
                self._indexers[name] = function
                self._indexes[name] = {}
                self._filed[name] = {}
                for key, obj in self._objects.items():
                    self._file(name, key, obj)

    def put(self, obj: M) -> tuple[M | None, M] | None:
        """Add or replace an object. None when it is the one already here."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and _version(old) == _version(obj) and metadata_of(old).uid == metadata_of(obj).uid:
            return None
        self._check(key)
        self._objects[key] = obj
        for name in self._indexers:
            self._file(name, key, obj)
        if self._bytes is not None:
            self._bytes[key] = obj.SerializeToString(deterministic=True)
        return (old, obj)

    def remove(self, key: str) -> M | None:
        """Forget an object. Returns what it was."""
        old = self._objects.pop(key, None)
        if old is not None:
            for name in self._indexers:
                self._unfile(name, key)
            self._check(key, old)
            if self._bytes is not None:
                self._bytes.pop(key, None)
        return old

    def replace(self, objects: Iterable[M]) -> builtins.list[tuple[M | None, M | None]]:
        """Make this the whole truth. An object that was deleted and made anew is a deletion and an addition."""
        changes: builtins.list[tuple[M | None, M | None]] = []
        present = set()
        for obj in objects:
            key = key_of(obj)
            present.add(key)
            old = self._objects.get(key)
            if old is not None and metadata_of(old).uid != metadata_of(obj).uid:
                changes.append((self.remove(key), None))
            if (change := self.put(obj)) is not None:
                changes.append(change)
        gone = [key for key in self._objects if key not in present]
        changes.extend((self.remove(key), None) for key in gone)
        return changes

    def check_mutations(self) -> None:
        """Raise CacheMutated if any object is not as it was received. Does nothing unless asked to detect."""
        for key in self._objects:
            self._check(key)

    def _check(self, key: str, obj: M | None = None) -> None:
        if self._bytes is None or (known := self._bytes.get(key)) is None:
            return
        obj = obj if obj is not None else self._objects[key]
        if obj.SerializeToString(deterministic=True) != known:
            was = type(obj).FromString(known)
            raise CacheMutated(f"{obj.DESCRIPTOR.name} {key} was changed in the cache\nwas: {was}\nis: {obj}")

    def _file(self, name: str, key: str, obj: M) -> None:
        values = tuple(self._indexers[name](obj))
        index = self._indexes[name]
        if values != self._filed[name].get(key):
            self._unfile(name, key)
            self._filed[name][key] = values
        for value in values:
            index.setdefault(value, {})[key] = obj

    def _unfile(self, name: str, key: str) -> None:
        index = self._indexes[name]
        for value in self._filed[name].pop(key, ()):
            if (filed := index.get(value)) is not None:
                filed.pop(key, None)
                if not filed:
                    del index[value]


def _version(obj: M) -> str:
    return metadata_of(obj).resource_version
