"""Which objects name which node: so that a kubelet is served without looking at the Pods of all others."""

from navarch.services.api.errors import ApiError
from navarch.services.apiserver.stored import StoredObject


class NodeIndex:
    """Keys of objects by the node that they name ("": none yet)."""

    def __init__(self) -> None:
        self._node_of: dict[str, str] = {}
        self._keys: dict[str, set[str]] = {}

    def move(self, key: str, current: StoredObject | None) -> list[str]:
        """Note what an object is now (None: gone). Returns the nodes that it names and named before."""
        node = None if current is None else _node_of(current)
        before = self._node_of.pop(key, None)
        if before is not None and before != node:
            self._keys[before].discard(key)
            if not self._keys[before]:
                del self._keys[before]
        if node is not None:
            self._node_of[key] = node
            self._keys.setdefault(node, set()).add(key)
        return [one for one in dict.fromkeys((node, before)) if one is not None]

    def keys_on(self, node: str) -> list[str]:
        """The keys of a node's objects, sorted."""
        return sorted(self._keys.get(node, ()))


def _node_of(stored: StoredObject) -> str:
    """The node that an object names; "" where it cannot be known."""
    try:
        return str(stored.message.spec.node_name)
    except ApiError:
        return ""
