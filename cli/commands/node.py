"""``navarch cordon``, ``uncordon``, ``drain``: take a node out of use and back."""

import asyncio
from typing import Annotated

import typer

from navarch.cli import options
from navarch.cli.cluster.layout import UsageError
from navarch.cli.commands.delete import wait_gone
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import NotFound, TooManyRequests
from navarch.services.api.kinds import KINDS
from navarch.services.api.meta import controller_of
from navarch.services.client.client import Client

MIRROR = "kubernetes.io/config.mirror"
# A disruption budget that allows nothing now may allow it soon.
EVICTION_RETRY_S = 5.0

Node = Annotated[str, typer.Argument(help="The node's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (cordon, uncordon, drain):
        app.command()(command)


def cordon(node: Node, kubeconfig: options.Kubeconfig = None) -> None:
    """Let no new Pods onto a node."""
    with_session(kubeconfig, lambda session: _set_unschedulable(session.client, node, True))


def uncordon(node: Node, kubeconfig: options.Kubeconfig = None) -> None:
    """Let Pods onto a node again."""
    with_session(kubeconfig, lambda session: _set_unschedulable(session.client, node, False))


def drain(
    node: Node,
    ignore_daemonsets: Annotated[bool, typer.Option(help="Leave Pods of DaemonSets: they would come back.")] = False,
    delete_emptydir_data: Annotated[bool, typer.Option(help="Evict Pods whose emptyDir data will be lost.")] = False,
    force: Annotated[bool, typer.Option(help="Evict Pods that nobody will make anew.")] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds for each Pod to end in; -1 leaves it to the Pod.")] = -1,
    timeout: options.Timeout = "0",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Cordon a node and evict its Pods."""

    async def work(session: Session) -> None:
        await _set_unschedulable(session.client, node, True)
        listed = await session.client.list(corev1.Pod, field_selector=f"spec.nodeName={node}")
        pods = [pod for pod in listed.items if not _stays(pod, ignore_daemonsets)]
        obstacles = [text for pod in pods if (text := _obstacle(pod, force, delete_emptydir_data))]
        if obstacles:
            raise UsageError(f"{node} cannot be drained: " + "; ".join(obstacles))
        grace = None if grace_period < 0 else grace_period
        async with asyncio.timeout(options.seconds(timeout) or None):
            await asyncio.gather(*(_evict(session.client, pod, grace) for pod in pods))
        print(f"node/{node} drained")

    with_session(kubeconfig, work)


async def _set_unschedulable(client: Client, name: str, wanted: bool) -> None:
    node = await client.get(corev1.Node, name)
    word = "cordoned" if wanted else "uncordoned"
    if node.spec.unschedulable == wanted:
        print(f"node/{name} already {word}")
        return
    await client.patch(corev1.Node, name, "", {"spec": {"unschedulable": True if wanted else None}})
    print(f"node/{name} {word}")


def _stays(pod: corev1.Pod, ignore_daemonsets: bool) -> bool:
    owner = controller_of(pod)
    of_daemon_set = owner is not None and owner.kind == "DaemonSet"
    return MIRROR in pod.metadata.annotations or (of_daemon_set and ignore_daemonsets)


def _obstacle(pod: corev1.Pod, force: bool, delete_emptydir_data: bool) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    owner = controller_of(pod)
    if owner is None and not force and pod.status.phase not in ("Succeeded", "Failed"):
        return f"{name} has no controller that makes it anew (--force)"
    if owner is not None and owner.kind == "DaemonSet":
        return f"{name} belongs to a DaemonSet (--ignore-daemonsets)"
    has_empty_dir = any(volume.volume_source.HasField("empty_dir") for volume in pod.spec.volumes)
    if has_empty_dir and not delete_emptydir_data:
        return f"{name} has data in an emptyDir (--delete-emptydir-data)"
    return ""


async def _evict(client: Client, pod: corev1.Pod, grace: int | None) -> None:
    name, namespace = pod.metadata.name, pod.metadata.namespace
    print(f"evicting pod {namespace}/{name}")
    while True:
        try:
            await client.evict(namespace, name, grace_period_seconds=grace)
        except NotFound:
            return
        except TooManyRequests as error:
            print(f"error when evicting pod {namespace}/{name} (will retry): {error.message}")
            await asyncio.sleep(EVICTION_RETRY_S)
            continue
        break
    await wait_gone(client, Target(KINDS.of(corev1.Pod), name), namespace, pod.metadata.uid)
    print(f"pod/{name} evicted")
