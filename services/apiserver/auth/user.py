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
        return self.name.removeprefix(NODE_PREFIX) if NODES in self.groups and self.is_node else ""

    @property
    def is_node(self) -> bool:
        """Whether the name is that of a kubelet."""
        return self.name.startswith(NODE_PREFIX)


# What the server does of its own accord, such as the default namespaces.
LOOPBACK = User("system:apiserver", frozenset({MASTERS, AUTHENTICATED}))
