"""Names and ids: what may exist once, and what is meant by the beginning of an id."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors

T = TypeVar("T")


def sandbox_name(metadata: criv1.PodSandboxMetadata) -> str:
    """What of a sandbox may exist once on a host. Raises InvalidArgument for a part that is missing."""
    if not metadata.name or not metadata.namespace or not metadata.uid:
        raise errors.InvalidArgument("a sandbox needs a name, a namespace and a uid")
    return f"{metadata.name}_{metadata.namespace}_{metadata.uid}_{metadata.attempt}"


def container_name(metadata: criv1.ContainerMetadata) -> str:
    """What of a container may exist once in a sandbox. Raises InvalidArgument where there is none."""
    if not metadata.name:
        raise errors.InvalidArgument("a container needs a name")
    return f"{metadata.name}_{metadata.attempt}"


def find(known: Mapping[str, T], wanted: str, what: str) -> T | None:
    """By id, or by a beginning that no other id has. Raises InvalidArgument for one that several have."""
    if wanted in known or not wanted:
        return known.get(wanted)
    matches = [key for key in known if key.startswith(wanted)]
    if len(matches) > 1:
        raise errors.InvalidArgument(f"{what} id {wanted!r} is ambiguous")
    return known[matches[0]] if matches else None


class Names:
    """Those of things that are being made."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @contextmanager
    def making(self, name: str, exists: bool) -> Iterator[None]:
        """While something of that name is being made, and `exists` when it was: nobody else makes it.

        Raises AlreadyExists. The name is free again when the block ends, however it ends: from then on
        what was made speaks for itself.
        """
        if exists or name in self._names:
            state = "exists" if exists else "is being made by another call"
            raise errors.AlreadyExists(f"{name} {state} already")
        self._names.add(name)
        try:
            yield
        finally:
            self._names.discard(name)
