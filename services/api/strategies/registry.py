"""Which kind has which hooks."""

from navarch.services.api.kinds import Kind
from navarch.services.api.strategies import cluster, pods, services, workloads
from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.validation.names import path_segment

_HOOKS: dict[tuple[str, str], Hooks] = {
    ("", "ConfigMap"): cluster.CONFIG_MAP,
    ("", "Endpoints"): cluster.ENDPOINTS,
    ("", "Event"): cluster.EVENT,
    ("", "Namespace"): cluster.NAMESPACE,
    ("", "Node"): cluster.NODE,
    ("", "Pod"): pods.HOOKS,
    ("", "ReplicationController"): workloads.REPLICATION_CONTROLLER,
    ("", "Secret"): cluster.SECRET,
    ("", "Service"): services.HOOKS,
    ("", "ServiceAccount"): cluster.SERVICE_ACCOUNT,
    ("apps", "DaemonSet"): workloads.DAEMON_SET,
    ("apps", "Deployment"): workloads.DEPLOYMENT,
    ("apps", "ReplicaSet"): workloads.REPLICA_SET,
    ("apps", "StatefulSet"): workloads.STATEFUL_SET,
    ("coordination.k8s.io", "Lease"): cluster.LEASE,
    ("discovery.k8s.io", "EndpointSlice"): cluster.ENDPOINT_SLICE,
}

# Kinds without rules of their own that count generations, by their specs.
_COUNTED = frozenset(
    {
        ("batch", "CronJob"),
        ("batch", "Job"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("policy", "PodDisruptionBudget"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)

# Groups whose names only have to fit into a URL: "system:node", "2001:db8::1".
_LOOSE_NAMES = frozenset({("networking.k8s.io", "IPAddress")})


def hooks_of(kind: Kind) -> Hooks:
    """Return the hooks of a kind; those of a kind not listed count no generation and add no rules."""
    identity = (kind.group, kind.kind)
    if identity in _HOOKS:
        return _HOOKS[identity]
    if kind.group == "rbac.authorization.k8s.io" or identity in _LOOSE_NAMES:
        return Hooks(name_rule=path_segment)
    return Hooks(generation=spec_changed) if identity in _COUNTED else Hooks()
