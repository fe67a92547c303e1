"""Who makes a request."""

from dataclasses import dataclass

MASTERS = "system:masters"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """A name and its groups."""

    name: str
    groups: frozenset[str]

    @property
    def node_name(self) -> str:
        """The node whose kubelet this is, or ""."""
        is_node = NODES in self.groups and self.name.startswith(NODE_PREFIX)
        return self.name.removeprefix(NODE_PREFIX) if is_node else ""
