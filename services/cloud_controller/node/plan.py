"""What a cloud's word changes of a Node. Pure; each answer is a changed copy, or None where all is right.

Source: the well-known labels, annotations and taints of Kubernetes; KEP-88 (external cloud providers).
"""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import Instance
from navarch.services.api.meta import condition_is
from navarch.services.client.controller import Hindered

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"
INSTANCE_TYPE, ZONE, REGION = (
    ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"),
    ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
)
# What a kubelet was told by its user: it stays, where the cloud confirms it.
PROVIDED_ADDRESS = "alpha.kubernetes.io/provided-node-ip"


class WrongInstance(Hindered):
    """What the cloud says cannot be true of the Node. The message says why."""


def awaits_cloud(node: corev1.Node) -> bool:
    """Whether nobody has said what the Node is."""
    return any(taint.key == UNINITIALIZED for taint in node.spec.taints)


def initialized(node: corev1.Node, instance: Instance) -> corev1.Node:
    """With provider id and labels, ready to take Pods. Its addresses are in its status: `readdressed`."""
    result = _copy(node)
    if not result.spec.provider_id and instance.provider_id:
        result.spec.provider_id = instance.provider_id
    named = ((INSTANCE_TYPE, instance.instance_type), (ZONE, instance.zone), (REGION, instance.region))
    for labels, value in named:
        if value:
            result.metadata.labels.update(dict.fromkeys(labels, value))
    for key, value in instance.additional_labels.items():
        if key not in result.metadata.labels:
            result.metadata.labels[key] = value
    _keep_taints(result, (taint for taint in node.spec.taints if taint.key != UNINITIALIZED))
    return result


def readdressed(node: corev1.Node, instance: Instance) -> corev1.Node | None:
    """With the cloud's addresses, its host name kept. Raises WrongInstance when the one it was given is not theirs."""
    if not instance.addresses:
        return None
    wanted = list(instance.addresses)
    given = node.metadata.annotations.get(PROVIDED_ADDRESS, "")
    for address in filter(None, given.split(",")):
        if not any(one.address == address for one in wanted):
            raise WrongInstance(f"node address {address} of {node.metadata.name} is not among those of its instance")
    if given:
        first = given.split(",")
        wanted.sort(key=lambda one: first.index(one.address) if one.address in first else len(first))
    if not any(one.type == "Hostname" for one in wanted):
        wanted += [one for one in node.status.addresses if one.type == "Hostname"]
    if [(one.type, one.address) for one in wanted] == [(one.type, one.address) for one in node.status.addresses]:
        return None
    result = _copy(node)
    del result.status.addresses[:]
    result.status.addresses.extend(wanted)
    return result


def is_doubtful(node: corev1.Node) -> bool:
    """Whether the cloud is to be asked if its instance still is: only of Nodes that are not well."""
    return not awaits_cloud(node) and not condition_is(node.status.conditions, "Ready")


def with_shutdown(node: corev1.Node, *, shutdown: bool) -> corev1.Node | None:
    """Tainted, or no longer, as its instance is switched off or on."""
    if any(taint.key == SHUTDOWN for taint in node.spec.taints) == shutdown:
        return None
    result = _copy(node)
    if shutdown:
        result.spec.taints.add(key=SHUTDOWN, effect="NoSchedule")
    else:
        _keep_taints(result, (taint for taint in node.spec.taints if taint.key != SHUTDOWN))
    return result


def _copy(node: corev1.Node) -> corev1.Node:
    result = corev1.Node()
    result.CopyFrom(node)
    return result


def _keep_taints(node: corev1.Node, taints: Iterable[corev1.Taint]) -> None:
    kept = list(taints)
    del node.spec.taints[:]
    node.spec.taints.extend(kept)
