"""What a kubelet may write, where the content of the object decides: only what belongs to its own node.

Rights by name are the authorizer's. Worded as by the admission plugin NodeRestriction of Kubernetes.
"""

from typing import TYPE_CHECKING, Any

from navarch.services.api.errors import Forbidden
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.admission.service_accounts import MIRROR
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.stored import StoredObject

if TYPE_CHECKING:
    from navarch.services.apiserver.registry.core import Target

# Of the labels that belong to Kubernetes, those that a kubelet may give its own Node.
KUBELET_LABELS = frozenset(
    (
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    )
)
VERBS = {"status": "update pod status for", "eviction": "evict", "": "delete"}


def restrict_creation(user: User, kind: Kind, obj: Any) -> None:
    """Raise Forbidden where a kubelet creates what is not its own: its Node, its lease, mirrors of its files."""
    node = user.node_name
    if not node:
        return
    if kind.gvk == ("v1", "Pod"):
        _restrict_mirror(node, kind, obj)
    elif not kind.is_custom and kind.kind in ("Node", "Lease", "CSINode") and obj.metadata.name != node:
        raise Forbidden(kind, obj.metadata.name, f'node "{node}" can only create an object of its own name')
    elif kind.gvk == ("v1", "Node"):
        if forbidden := sorted(label for label in obj.metadata.labels if _is_reserved(label)):
            detail = f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}'
            raise Forbidden(kind, obj.metadata.name, detail)
    elif kind.kind == "ResourceSlice" and obj.spec.node_name != node:
        detail = "can only create ResourceSlice with the same NodeName as the requesting node"
        raise Forbidden(kind, obj.metadata.name, detail)


def restrict_change(user: User, subresource: str, current: StoredObject) -> None:
    """Raise Forbidden where a kubelet changes or deletes the Pod of another node."""
    node = user.node_name
    if node and current.kind.gvk == ("v1", "Pod") and current.message.spec.node_name != node:
        what = VERBS.get(subresource, "change")
        detail = f'node "{node}" can only {what} pods with spec.nodeName set to itself'
        raise Forbidden(current.kind, current.name, detail)


def restrict_node(user: User, current: StoredObject, new: Any) -> None:
    """Raise Forbidden where a kubelet changes what decides which Pods come to its Node: taints, reserved labels."""
    node = user.node_name
    if not node or current.kind.gvk != ("v1", "Node"):
        return
    old, problem = current.decode(), ""
    before, after = old.metadata.labels, new.metadata.labels
    changed = (label for label in {*before, *after} if before.get(label) != after.get(label))
    if list(new.spec.taints) != list(old.spec.taints):
        problem = f'node "{node}" is not allowed to modify taints'
    elif forbidden := sorted(filter(_is_reserved, changed)):
        problem = f'node "{node}" is not allowed to modify labels: {", ".join(forbidden)}'
    if problem:
        raise Forbidden(current.kind, current.name, problem)


def _is_reserved(label: str) -> bool:
    """Whether a label of a Node is not its kubelet's to say."""
    domain, slash, _ = label.partition("/")
    if not slash or label in KUBELET_LABELS or _is_in(domain, "kubelet.kubernetes.io", "node.kubernetes.io"):
        return False
    return _is_in(domain, "kubernetes.io", "k8s.io")


def _is_in(domain: str, *parents: str) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _restrict_mirror(node: str, kind: Kind, pod: Any) -> None:
    problem = ""
    if MIRROR not in pod.metadata.annotations:
        problem = f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
    elif pod.spec.node_name != node:
        problem = f'node "{node}" can only create pods with spec.nodeName set to itself'
    elif pod.spec.service_account_name or pod.spec.service_account:
        problem = f'node "{node}" can not create pods that reference a service account'
    if problem:
        raise Forbidden(kind, pod.metadata.name, problem)


def restrict_token(user: User, target: "Target", spec: Any) -> None:
    """Raise Forbidden where a kubelet asks for a token that is not bound to a Pod."""
    node = user.node_name
    if not node:
        return
    reference, problem = spec.bound_object_ref, ""
    if not spec.HasField("bound_object_ref") or (reference.api_version, reference.kind) != ("v1", "Pod"):
        problem = "node requested token not bound to a pod"
    elif not reference.name:
        problem = "node requested token with a pod binding without a name"
    elif not reference.uid:
        problem = "node requested token with a pod binding without a uid"
    if problem:
        raise Forbidden("serviceaccounts/token", target.name, problem)


def restrict_token_pod(user: User, pod: Any) -> None:
    """Raise Forbidden where a kubelet asks for a token bound to the Pod of another node."""
    node = user.node_name
    if node and pod.spec.node_name != node:
        detail = "node requested token bound to a pod scheduled on a different node"
        raise Forbidden("serviceaccounts/token", pod.spec.service_account_name, detail)
