"""Which handler serves what: paths that are no resources, and parts of objects that are no objects."""

from collections.abc import Mapping

from navarch.services.apiserver.doors.rest.call import Handler

# (group, resource, subresource)
Part = tuple[str, str, str]


class RouteTable:
    """Handlers by path, by path prefix (those that end in "/"), and by part."""

    def __init__(self, paths: Mapping[str, Handler], parts: Mapping[Part, Handler]) -> None:
        self._paths = {path: handler for path, handler in paths.items() if not path.endswith("/")}
        self._prefixes = sorted(
            ((path, handler) for path, handler in paths.items() if path.endswith("/")),
            key=lambda row: len(row[0]),
            reverse=True,
        )
        self._parts = dict(parts)

    def path(self, path: str) -> Handler | None:
        """The handler of a path: its own, or that of the longest prefix."""
        found = self._paths.get(path) or self._paths.get(path.rstrip("/"))
        return found or next((handler for prefix, handler in self._prefixes if path.startswith(prefix)), None)

    def part(self, group: str, resource: str, subresource: str) -> Handler | None:
        """The handler of a part of an object."""
        return self._parts.get((group, resource, subresource))

    @property
    def paths(self) -> list[str]:
        """All paths, for the index."""
        return sorted([*self._paths, *(prefix.rstrip("/") for prefix, _ in self._prefixes)])
