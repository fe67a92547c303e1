"""The authorizer until roles are stored: the roles of `policy`, and for a kubelet what concerns its own node.

A kubelet has to do with its own node, and with what the Pods there name. What a request shows of the object decides
here; where its content does, admission (`admission.nodes`).
"""

from collections.abc import Iterator
from typing import Protocol

from navarch.services.apiserver.auth.authorizer import Attributes
from navarch.services.apiserver.auth.policy import BY_GROUP, BY_USER, EVERYTHING, NETWORK, NODE
from navarch.services.apiserver.auth.roles import Role, Rule
from navarch.services.apiserver.auth.user import MASTERS, User

NODE_LEASES = "kube-node-lease"


class References(Protocol):
    """Knows what the Pods of a node name."""

    def has(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether one of them does."""
        ...


class ComponentRules:
    """An authorizer with these roles."""

    def __init__(self, references: References) -> None:
        self._references = references

    def allows(self, user: User, attributes: Attributes) -> bool:
        """Whether the user may."""
        if MASTERS in user.groups:
            return True
        node = user.node_name
        if node and NODE.allows(attributes) and self._is_own(node, attributes):
            return True
        agent_of = user.network_node
        if agent_of and NETWORK.allows(attributes) and _is_for_agent(agent_of, attributes):
            return True
        return any(role.allows(attributes) for role in _roles(user))

    def rules_of(self, user: User) -> list[Rule]:
        """All that the user may do, as far as rules say it; of a kubelet its relation to Pods decides the rest."""
        if MASTERS in user.groups:
            return list(EVERYTHING.rules)
        return [rule for role in _roles(user) for rule in role.rules]

    def _is_own(self, node: str, wanted: Attributes) -> bool:
        is_own = wanted.name == node or wanted.verb == "create"
        match wanted.resource:
            case "nodes" | "csinodes":
                return is_own
            case "leases":
                return wanted.namespace == NODE_LEASES and is_own
            case "pods" if wanted.verb == "get":
                return self._references.has(node, "pods", wanted.namespace, wanted.name)
            case "pods":
                return wanted.verb not in ("list", "watch") or wanted.node == node
            case "resourceslices" if wanted.verb in ("list", "watch", "deletecollection"):
                return wanted.node == node
            case "serviceaccounts" if not wanted.subresource and not wanted.name:
                # Informers of our own kubelet; an account holds no secret.
                return True
            case (
                "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "serviceaccounts"
                | "resourceclaims"
                | "volumeattachments"
            ):
                return self._references.has(node, wanted.resource, wanted.namespace, wanted.name)
        return True


def _is_for_agent(node: str, wanted: Attributes) -> bool:
    """A network agent reads all Nodes, and writes the status of its own."""
    return wanted.path != "nodes/status" or wanted.name == node


def _roles(user: User) -> Iterator[Role]:
    own = BY_USER.get(user.name)
    if own is not None:
        yield own
    for group in user.groups:
        yield from BY_GROUP.get(group, ())
