"""What a kubelet may do: what belongs to its own node, and nothing that belongs to another."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.client.client import Client

MIRROR = "kubernetes.io/config.mirror"
Attempt = Callable[[Client], Awaitable[object]]


def pod(name: str, node: str, *, mirror: bool = False, account: str = "") -> corev1.Pod:
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    if mirror:
        made.metadata.annotations[MIRROR] = "hash"
    made.spec.containers.add(name="main", image="example.org/image:1")
    made.spec.containers[0].env.add(name="PASSWORD").value_from.secret_key_ref.local_object_reference.name = node
    made.spec.containers[0].env[0].value_from.secret_key_ref.key = "k"
    made.spec.node_name, made.spec.service_account_name = node, account
    return made


def secret(name: str) -> corev1.Secret:
    made = corev1.Secret()
    made.metadata.name, made.metadata.namespace = name, "default"
    return made


def lease(name: str, namespace: str) -> coordinationv1.Lease:
    made = coordinationv1.Lease()
    made.metadata.name, made.metadata.namespace = name, namespace
    return made


def node(name: str) -> corev1.Node:
    made = corev1.Node()
    made.metadata.name = name
    return made


@pytest.fixture
async def kubelet(cluster: Any) -> Client:
    """The kubelet of n1, in a cluster where each of two nodes runs a Pod with a Secret."""
    admin: Client = cluster.client
    for name in ("n1", "n2"):
        await admin.create(secret(name))
        await admin.create(pod(f"on-{name}", name))
    connected: Client = cluster.connect("system:node:n1", "system:nodes")
    return connected


STATUS = {"status": {"phase": "Running"}}
REFUSED: list[tuple[str, Attempt, str]] = [
    ("register another node", lambda c: c.create(node("n2")), "an object of its own name"),
    ("read another node", lambda c: c.get(corev1.Node, "n2"), "cannot get"),
    ("read all nodes", lambda c: c.list(corev1.Node), "cannot list"),
    ("delete its node", lambda c: c.delete(corev1.Node, "n1"), "cannot delete"),
    ("run a Pod", lambda c: c.create(pod("p", "n1")), "can only create mirror pods"),
    ("mirror elsewhere", lambda c: c.create(pod("p", "n2", mirror=True)), "spec.nodeName set to itself"),
    (
        "mirror with an account",
        lambda c: c.create(pod("p", "n1", mirror=True, account="admin")),
        "reference a service account",
    ),
    ("read all Pods", lambda c: c.list(corev1.Pod), "cannot list"),
    ("read another's Pods", lambda c: c.list(corev1.Pod, field_selector="spec.nodeName=n2"), "cannot list"),
    (
        "report on another's Pod",
        lambda c: c.patch(corev1.Pod, "on-n2", "default", STATUS, "merge", subresource="status"),
        "can only update pod status for pods with spec.nodeName set to itself",
    ),
    (
        "delete another's Pod",
        lambda c: c.delete(corev1.Pod, "on-n2", "default", grace_period_seconds=0),
        "can only delete pods",
    ),
    ("evict another's Pod", lambda c: c.evict("default", "on-n2"), "can only evict pods"),
    ("read another's Secret", lambda c: c.get(corev1.Secret, "n2", "default"), "cannot get"),
    ("read all Secrets", lambda c: c.list(corev1.Secret, "default"), "cannot list"),
    ("read all ConfigMaps", lambda c: c.list(corev1.ConfigMap), "cannot list"),
    ("hold another's lease", lambda c: c.create(lease("n2", "kube-node-lease")), "an object of its own name"),
    ("hold a leader's lease", lambda c: c.create(lease("kube-scheduler", "kube-system")), "cannot create"),
]


@pytest.mark.parametrize(("attempt", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
async def test_may_not(kubelet: Client, attempt: Attempt, words: str) -> None:
    with pytest.raises(errors.Forbidden, match=words):
        await attempt(kubelet)


RESERVED = "node-restriction.kubernetes.io/secure"
TAINTED: dict[str, Any] = {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}}


@pytest.mark.parametrize("subresource", ["", "status"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(TAINTED, "not allowed to modify taints", id="taints"),
        pytest.param(labelled(**{RESERVED: "x"}), "not allowed to modify labels", id="restricted label"),
        pytest.param(labelled(**{"node-role.kubernetes.io/control-plane": ""}), "modify labels", id="role"),
    ],
)
async def test_may_not_say_which_pods_come(
    kubelet: Client, change: dict[str, Any], words: str, subresource: str
) -> None:
    await kubelet.create(node("n1"))
    with pytest.raises(errors.Forbidden, match=words):
        await kubelet.patch(corev1.Node, "n1", "", change, "merge", subresource=subresource)
    allowed = labelled(**{"kubernetes.io/hostname": "n1", "node.kubernetes.io/x": "y", "mine": "z"})
    await kubelet.patch(corev1.Node, "n1", "", allowed, "merge")


async def test_may_not_begin_with_a_reserved_label(kubelet: Client) -> None:
    own = node("n1")
    own.metadata.labels[RESERVED] = "x"
    with pytest.raises(errors.Forbidden, match="not allowed to set the following labels"):
        await kubelet.create(own)


async def test_reads_its_own_pods_only(kubelet: Client) -> None:
    assert await kubelet.get(corev1.Pod, "on-n1", "default")
    with pytest.raises(errors.Forbidden, match="cannot get"):
        await kubelet.get(corev1.Pod, "on-n2", "default")
    with pytest.raises(errors.NotFound):
        await kubelet.get(corev1.Pod, "gone", "default")


async def test_may_do_its_work(kubelet: Client) -> None:
    await kubelet.create(node("n1"))
    assert await kubelet.get(corev1.Node, "n1")
    held = await kubelet.create(lease("n1", "kube-node-lease"))
    await kubelet.update(held)
    pods = await kubelet.list(corev1.Pod, field_selector="spec.nodeName=n1")
    assert [item.metadata.name for item in pods.items] == ["on-n1"]
    assert await kubelet.get(corev1.Secret, "n1", "default")
    assert (await kubelet.list(corev1.Secret, "default", field_selector="metadata.name=n1")).items
    await kubelet.patch(corev1.Pod, "on-n1", "default", STATUS, "merge", subresource="status")
    await kubelet.delete(corev1.Pod, "on-n1", "default", grace_period_seconds=0)
    # With the Pod goes the reason to read its Secret.
    with pytest.raises(errors.Forbidden):
        await kubelet.get(corev1.Secret, "n1", "default")
    await kubelet.create(pod("mirror-n1", "n1", mirror=True))
