"""``navarch logs``: what containers wrote."""

import asyncio
import sys
from typing import Annotated

import grpc
import typer

from navarch.cli import options, targets
from navarch.cli.cluster.layout import UsageError
from navarch.cli.session import Session, with_session
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api.labels import Selector
from navarch.services.api.rpc_status import from_rpc


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
    words: Annotated[list[str] | None, typer.Argument(help="POD, or TYPE/NAME of what owns Pods")] = None,
    container: options.Container = "",
    namespace: options.Namespace = "default",
    selector: options.Labels = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new lines come.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the container before its last restart.")
    ] = False,
    tail: Annotated[int, typer.Option(help="Only so many lines from the end; -1 shows all.")] = -1,
    since: Annotated[str, typer.Option(help="Only what is younger: 30s, 5m.")] = "",
    timestamps: Annotated[bool, typer.Option(help="Begin each line with its time.")] = False,
    all_containers: Annotated[bool, typer.Option(help="Of every container of the Pod.")] = False,
    prefix: Annotated[bool, typer.Option(help="Begin each line with its Pod and container.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Print the logs of a Pod, of the Pods of a Deployment, or of all Pods with given labels."""
    wanted = corev1.PodLogOptions(follow=follow, previous=previous, timestamps=timestamps)
    if tail >= 0:
        wanted.tail_lines = tail
    if since:
        wanted.since_seconds = max(1, int(options.seconds(since)))

    async def work(session: Session) -> None:
        pods = await _pods(session, words or [], namespace, selector)
        sources = [(pod, name) for pod in pods for name in _containers(pod, container, all_containers)]
        named = prefix or len(sources) > 1
        stub = node_pb2_grpc.NodeStub(session.client.channel)
        async with asyncio.TaskGroup() as group:
            for pod, name in sources:
                label = f"[pod/{pod.metadata.name}/{name}] " if named else ""
                group.create_task(_stream(stub, pod, name, wanted, label))

    try:
        with_session(kubeconfig, work)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _pods(session: Session, words: list[str], namespace: str, selector: str) -> list[corev1.Pod]:
    if selector:
        found = (await session.client.list(corev1.Pod, namespace, label_selector=selector)).items
        if not found:
            raise UsageError(f"no Pods with labels {selector} in namespace {namespace}")
        return found
    target = targets.parse_one(words)
    if target.kind.kind == "Pod":
        return [await session.client.get(corev1.Pod, target.name, namespace)]
    return [await pod_of(session, target, namespace)]


async def pod_of(session: Session, target: targets.Target, namespace: str) -> corev1.Pod:
    """A Pod behind a Deployment, ReplicaSet or Service: a ready one first. Raises UsageError."""
    if target.kind.kind == "Pod":
        return await session.client.get(corev1.Pod, target.name, namespace)
    owner = await session.client.get(target.cls, target.name, namespace)
    spec = getattr(owner, "spec", None)
    if spec is None or not hasattr(spec, "selector"):
        raise UsageError(f"{target} selects no Pods")
    labels = spec.selector
    selector = Selector.from_labels(labels) if target.kind.kind == "Service" else Selector.of(labels)
    found = (await session.client.list(corev1.Pod, namespace, label_selector=str(selector))).items
    if not found:
        raise UsageError(f"{target} has no Pods now")
    return min(found, key=lambda pod: (pod.status.phase != "Running", pod.metadata.name))


def _containers(pod: corev1.Pod, chosen: str, every: bool) -> list[str]:
    names = [one.name for one in [*pod.spec.init_containers, *pod.spec.containers]]
    if every:
        return names
    if chosen and chosen not in names:
        raise UsageError(f"pod/{pod.metadata.name} has no container {chosen!r}; it has {', '.join(names)}")
    return [
        chosen
        or pod.metadata.annotations.get("kubectl.kubernetes.io/default-container", "")
        or pod.spec.containers[0].name
    ]


async def _stream(
    stub: "node_pb2_grpc.NodeAsyncStub", pod: corev1.Pod, container: str, wanted: corev1.PodLogOptions, label: str
) -> None:
    request = node_pb2.LogsRequest(namespace=pod.metadata.namespace, pod=pod.metadata.name, options=wanted)
    request.options.container = container
    out = sys.stdout.buffer
    rest = b""
    try:
        async for response in stub.Logs(request):
            if not label:
                out.write(response.data)
            else:
                *lines, rest = (rest + response.data).split(b"\n")
                out.writelines(label.encode() + line + b"\n" for line in lines)
            out.flush()
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    if rest:
        out.write(label.encode() + rest + b"\n")
        out.flush()
