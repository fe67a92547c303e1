"""The rules until roles are served: the cluster's own components, each with what it needs.

Whoever is not named here may do nothing. `system:masters` may do everything, as everywhere in Kubernetes.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from navarch.services.apiserver.auth.authorizer import Attributes
from navarch.services.apiserver.auth.user import MASTERS, User

READ = frozenset({"get", "list", "watch"})
WRITE = frozenset({"create", "update", "patch", "delete"})
ANY = frozenset({"*"})
NODE_LEASES = "kube-node-lease"

# By "group/resource" (with "/subresource"); "*" for all.
Rules = Mapping[str, frozenset[str]]


def rules(*rows: tuple[str, Iterable[str]]) -> Rules:
    """A mapping from rows of ("pods pods/status leases@coordination.k8s.io", verbs)."""
    table: dict[str, frozenset[str]] = {}
    for resources, verbs in rows:
        for resource in resources.split():
            table[resource] = table.get(resource, frozenset()) | frozenset(verbs)
    return table


SCHEDULER = rules(
    ("*", READ),
    ("pods/binding bindings", {"create"}),
    ("pods pods/status", {"update", "patch", "delete"}),
    ("pods/eviction", {"create"}),
    ("events events@events.k8s.io", WRITE),
    ("leases@coordination.k8s.io", WRITE),
)
CONTROLLER_MANAGER = rules(("*", ANY))
NODE = rules(
    ("nodes nodes/status", READ | {"create", "update", "patch"}),
    ("pods", READ | {"create", "delete"}),
    ("pods/status", {"get", "update", "patch"}),
    ("pods/eviction", {"create"}),
    ("configmaps secrets services endpoints namespaces serviceaccounts", READ),
    ("persistentvolumeclaims persistentvolumes", READ),
    ("endpointslices@discovery.k8s.io", READ),
    ("runtimeclasses@node.k8s.io", READ),
    ("priorityclasses@scheduling.k8s.io", READ),
    ("csidrivers@storage.k8s.io csinodes@storage.k8s.io storageclasses@storage.k8s.io", READ | WRITE),
    ("volumeattachments@storage.k8s.io", READ),
    ("events events@events.k8s.io", WRITE),
    ("leases@coordination.k8s.io", READ | WRITE),
    ("serviceaccounts/token", {"create"}),
    ("certificatesigningrequests@certificates.k8s.io", READ | {"create"}),
)
PROXY = rules(
    ("services endpoints nodes", READ),
    ("endpointslices@discovery.k8s.io", READ),
    ("events events@events.k8s.io", WRITE),
)
BY_USER: Mapping[str, Rules] = {
    "system:kube-scheduler": SCHEDULER,
    "system:kube-controller-manager": CONTROLLER_MANAGER,
    "system:kube-proxy": PROXY,
}


class References(Protocol):
    """Knows what the Pods of a node name."""

    def has(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a Pod that is bound to the node names this object of "configmaps" or "secrets"."""
        ...


class ComponentRules:
    """An authorizer with the rules above."""

    def __init__(self, references: References) -> None:
        self._references = references

    def allows(self, user: User, attributes: Attributes) -> bool:
        """Whether the user may."""
        if MASTERS in user.groups:
            return True
        table = NODE if user.node_name else BY_USER.get(user.name, {})
        group = f"@{attributes.group}" if attributes.group else ""
        if not self._covers(table, f"{attributes.path}{group}", attributes.verb):
            return False
        return not user.node_name or self._is_own(user.node_name, attributes)

    @staticmethod
    def _covers(table: Rules, path: str, verb: str) -> bool:
        for verbs in (table.get(path, frozenset()), table.get("*", frozenset())):
            if verb in verbs or "*" in verbs:
                return True
        return False

    def _is_own(self, node: str, wanted: Attributes) -> bool:
        """A kubelet has to do with its own node, and with what the Pods there name.

        What a request shows of the object decides here; where its content does, admission (`admission.nodes`).
        """
        is_own = wanted.name == node or wanted.verb == "create"
        match wanted.resource:
            case "nodes" | "csinodes":
                return is_own
            case "leases":
                return wanted.namespace == NODE_LEASES and is_own
            case "pods":
                return wanted.verb not in ("list", "watch") or wanted.node == node
            case "secrets" | "configmaps":
                return self._references.has(node, wanted.resource, wanted.namespace, wanted.name)
        return True
