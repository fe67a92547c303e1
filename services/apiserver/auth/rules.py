"""The rules until roles are served: the cluster's own components, each with what it needs.

Whoever is not named here may do nothing. `system:masters` may do everything, as everywhere in Kubernetes.
"""

from collections.abc import Iterable, Mapping

from navarch.services.apiserver.auth.authorizer import Attributes
from navarch.services.apiserver.auth.user import MASTERS, User

READ = frozenset({"get", "list", "watch"})
WRITE = frozenset({"create", "update", "patch", "delete"})
ANY = frozenset({"*"})

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
    ("nodes nodes/status", READ | WRITE),
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


class ComponentRules:
    """An authorizer with the rules above."""

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

    @staticmethod
    def _is_own(node: str, attributes: Attributes) -> bool:
        """A kubelet writes its own Node and lease only."""
        writes = attributes.verb not in READ
        if writes and attributes.resource == "nodes":
            return attributes.name == node or attributes.verb == "create"
        if attributes.resource == "leases" and attributes.verb != "create":
            return attributes.namespace == "kube-node-lease" and (not writes or attributes.name in ("", node))
        return True
