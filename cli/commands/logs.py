"""``navarch logs``: what containers wrote."""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import grpc
import typer

from navarch.cli import durations, options, targets
from navarch.cli.errors import UsageError
from navarch.cli.pods import choose_container, container_names, pods_of
from navarch.cli.session import Session, with_session
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api.rpc_status import from_rpc

if TYPE_CHECKING:
    from navarch.protos.navarch.node_pb2_grpc import NodeAsyncStub

# Of many Pods at once the last lines are wanted, not everything.
SELECTED_TAIL = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
    words: Annotated[
        list[str] | None, typer.Argument(help="POD [CONTAINER], or TYPE/NAME of what owns Pods", metavar="POD")
    ] = None,
    container: options.Container = "",
    namespace: options.Namespace = "",
    selector: options.Labels = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new lines come.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the container before its last restart.")
    ] = False,
    tail: Annotated[int | None, typer.Option(help="Only so many lines from the end; -1 shows all.")] = None,
    since: Annotated[str, typer.Option(help="Only what is younger: 30s, 5m.")] = "",
    limit_bytes: Annotated[int, typer.Option(help="Only so many bytes; 0 shows all.")] = 0,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with its time.")] = False,
    all_containers: Annotated[bool, typer.Option("--all-containers", help="Of every container of the Pod.")] = False,
    all_pods: Annotated[bool, typer.Option("--all-pods", help="Of every Pod of the object; implies --prefix.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="Begin each line with its Pod and container.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Print the logs of a Pod, of the Pods of a Deployment, or of all Pods with given labels."""
    wanted = corev1.PodLogOptions(follow=follow, previous=previous, timestamps=timestamps)
    lines = (SELECTED_TAIL if selector and not follow else -1) if tail is None else tail
    if lines >= 0:
        wanted.tail_lines = lines
    if since:
        wanted.since_seconds = max(1, int(durations.seconds(since, "--since")))
    if limit_bytes:
        wanted.limit_bytes = limit_bytes
    if words and len(words) > 1 and container:
        raise UsageError("name the container once: as the second word or with -c")
    chosen = container or (words[1] if words and len(words) > 1 else "")

    async def work(session: Session) -> None:
        pods = await _pods(session, words or (), namespace, selector, all_pods)
        sources = [
            (pod, name)
            for pod in pods
            for name in (container_names(pod) if all_containers else [choose_container(pod, chosen)])
        ]
        stub = node_pb2_grpc.NodeStub(session.client.channel)
        async with asyncio.TaskGroup() as group:
            for pod, name in sources:
                label = f"[pod/{pod.metadata.name}/{name}] " if prefix or all_pods else ""
                group.create_task(_stream(stub, pod, name, wanted, label))

    with_session(kubeconfig, work)


async def _pods(
    session: Session, words: Sequence[str], namespace: str, selector: str, every: bool
) -> Sequence[corev1.Pod]:
    space = session.namespace(namespace)
    if selector:
        if words:
            raise UsageError("a name and -l exclude each other")
        found = (await session.client.list(corev1.Pod, space, label_selector=selector)).items
        if not found:
            print(f"No resources found in {space} namespace.", file=sys.stderr)
        return found
    if not words:
        raise UsageError("whose logs? navarch logs POD, TYPE/NAME or -l LABELS")
    if len(words) > 2:
        raise UsageError(f"name one Pod and at most one container, found: {' '.join(words)}")
    target = targets.parse_one(words[:1]).within(space)
    pods = await pods_of(session, target)
    if every:
        return pods
    if len(pods) > 1:
        print(f"Found {len(pods)} pods, using pod/{pods[0].metadata.name}", file=sys.stderr)
    return pods[:1]


async def _stream(
    stub: "NodeAsyncStub", pod: corev1.Pod, container: str, wanted: corev1.PodLogOptions, label: str
) -> None:
    request = node_pb2.LogsRequest(namespace=pod.metadata.namespace, pod=pod.metadata.name, options=wanted)
    request.options.container = container
    out, head = sys.stdout.buffer, label.encode()
    # Whole lines only: several Pods may write at once.
    rest = b""
    try:
        async for response in stub.Logs(request):
            *lines, rest = (rest + response.data).split(b"\n")
            out.writelines(head + line + b"\n" for line in lines)
            out.flush()
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    if rest:
        out.write(head + rest)
        out.flush()
