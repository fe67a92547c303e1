"""``navarch cordon``, ``uncordon``, ``drain``: take a node out of use and back."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from navarch.cli import durations, options
from navarch.cli.commands.delete import wait_gone
from navarch.cli.errors import UsageError
from navarch.cli.selection import Query
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

Nodes = Annotated[list[str] | None, typer.Argument(help="Names of nodes.", metavar="NODE...")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (cordon, uncordon, drain):
        app.command()(command)


def cordon(nodes: Nodes = None, selector: options.Labels = "", kubeconfig: options.Kubeconfig = None) -> None:
    """Let no new Pods onto nodes."""
    _mark(nodes, selector, kubeconfig, True)


def uncordon(nodes: Nodes = None, selector: options.Labels = "", kubeconfig: options.Kubeconfig = None) -> None:
    """Let Pods onto nodes again."""
    _mark(nodes, selector, kubeconfig, False)


def _mark(nodes: list[str] | None, selector: str, kubeconfig: Path | None, unschedulable: bool) -> None:
    async def work(session: Session) -> None:
        for name in await _names(session, nodes or [], selector):
            await _set_unschedulable(session.client, name, unschedulable)

    with_session(kubeconfig, work)


async def _names(session: Session, nodes: list[str], selector: str) -> list[str]:
    words = [word if "/" in word else f"node/{word}" for word in nodes] or (["nodes"] if selector else [])
    if not words:
        raise UsageError("which node? Name it, or give -l LABELS")
    found = await Query(words, labels=selector).names(session)
    if other := next((target for target in found if target.kind.kind != "Node"), None):
        raise UsageError(f"{other} is not a node")
    return [target.name for target in found]


def drain(
    nodes: Nodes = None,
    selector: options.Labels = "",
    ignore_daemonsets: Annotated[
        bool, typer.Option("--ignore-daemonsets", help="Leave Pods of DaemonSets: they would come back.")
    ] = False,
    delete_emptydir_data: Annotated[
        bool, typer.Option("--delete-emptydir-data", help="Evict Pods whose emptyDir data will be lost.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Evict Pods that nobody will make anew.")] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds for each Pod to end in; -1 leaves it to the Pod.")] = -1,
    timeout: options.Timeout = "0",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Cordon nodes and evict their Pods."""
    limit = durations.limit(timeout)

    async def work(session: Session) -> None:
        names = await _names(session, nodes or [], selector)
        for name in names:
            await _set_unschedulable(session.client, name, True)
        for name in names:
            pods = await _evictable(session.client, name, ignore_daemonsets, force, delete_emptydir_data)
            await _evict_all(session.client, name, pods, None if grace_period < 0 else grace_period, limit)
            print(f"node/{name} drained", flush=True)

    with_session(kubeconfig, work)


async def _evictable(client: Client, node: str, daemons: bool, force: bool, data: bool) -> list[corev1.Pod]:
    """The Pods to evict. Raises UsageError where one of them needs an option that was not given."""
    listed = (await client.list(corev1.Pod, field_selector=f"spec.nodeName={node}")).items
    found = [pod for pod in listed if MIRROR not in pod.metadata.annotations and not (daemons and _of_daemon(pod))]
    obstacles = [text for pod in found if (text := _obstacle(pod, force, data))]
    if obstacles:
        raise UsageError(f"{node} is cordoned but cannot be drained: " + "; ".join(obstacles))
    return found


async def _evict_all(client: Client, node: str, pods: list[corev1.Pod], grace: int | None, limit: float | None) -> None:
    try:
        async with asyncio.timeout(limit), asyncio.TaskGroup() as group:
            for pod in pods:
                group.create_task(_evict(client, pod, grace))
    except TimeoutError:
        raise UsageError(f"timed out after {limit:g} s: {node} still has Pods; it stays cordoned") from None


async def _set_unschedulable(client: Client, name: str, wanted: bool) -> None:
    node = await client.get(corev1.Node, name)
    word = "cordoned" if wanted else "uncordoned"
    if node.spec.unschedulable == wanted:
        print(f"node/{name} already {word}", flush=True)
        return
    await client.patch(corev1.Node, name, "", {"spec": {"unschedulable": True if wanted else None}})
    print(f"node/{name} {word}", flush=True)


def _of_daemon(pod: corev1.Pod) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner.kind == "DaemonSet"


def _obstacle(pod: corev1.Pod, force: bool, delete_emptydir_data: bool) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    owner = controller_of(pod)
    if owner is None and not force and pod.status.phase not in ("Succeeded", "Failed"):
        return f"{name} has no controller that makes it anew (--force)"
    if _of_daemon(pod):
        return f"{name} belongs to a DaemonSet (--ignore-daemonsets)"
    has_empty_dir = any(volume.volume_source.HasField("empty_dir") for volume in pod.spec.volumes)
    if has_empty_dir and not delete_emptydir_data:
        return f"{name} has data in an emptyDir (--delete-emptydir-data)"
    return ""


async def _evict(client: Client, pod: corev1.Pod, grace: int | None) -> None:
    name, namespace = pod.metadata.name, pod.metadata.namespace
    print(f"evicting pod {namespace}/{name}", flush=True)
    while True:
        try:
            await client.evict(namespace, name, grace_period_seconds=grace)
        except NotFound:
            return
        except TooManyRequests as error:
            print(f"error when evicting pod {namespace}/{name} (will retry): {error.message}", file=sys.stderr)
            await asyncio.sleep(EVICTION_RETRY_S)
            continue
        break
    await wait_gone(client, Target(KINDS.of(corev1.Pod), name, namespace), pod.metadata.uid)
    print(f"pod/{name} evicted", flush=True)
