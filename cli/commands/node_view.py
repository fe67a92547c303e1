"""``navarch node``: what a node has, does and says, and why a Pod of it does not run."""

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import grpc
import typer

from navarch.cli import options, targets
from navarch.cli.commands import events
from navarch.cli.errors import UsageError
from navarch.cli.fact_finding import events_about, gather
from navarch.cli.output import node_tables
from navarch.cli.output.diagnosis.findings import findings, is_well
from navarch.cli.output.diagnosis.page import document as diagnosis
from navarch.cli.output.diagnosis.page import page
from navarch.cli.output.messages import checked_format, document, rendered
from navarch.cli.output.printing import Format, Printer, parse_output
from navarch.cli.output.table import print_rows
from navarch.cli.pods import pods_of
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc, stats_pb2
from navarch.services.api.meta import is_controlled_by, metadata_of
from navarch.services.api.rpc_status import from_rpc

TIMEOUT_S = 30.0
T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The name of a node.", metavar="NODE")]
Output = Annotated[str, typer.Option("--output", "-o", help="wide, json or yaml. Default: table.")]

node = typer.Typer(help="Look at a node: its Pods, images and use, and why a Pod does not run.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the command with its verbs."""
    app.add_typer(node, name="node")


def _ask(kubeconfig: Path | None, question: Callable[["node_pb2_grpc.NodeAsyncStub"], Awaitable[T]]) -> T:
    """Ask a kubelet, by way of the API server."""

    async def work(session: Session) -> T:
        try:
            return await question(node_pb2_grpc.NodeStub(session.client.channel))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    return with_session(kubeconfig, work)


@node.command()
def pods(name: Name, output: options.Output = "", kubeconfig: options.Kubeconfig = None) -> None:
    """List the Pods of a node as its kubelet sees them."""
    form, template = parse_output(output)

    async def ask(stub: "node_pb2_grpc.NodeAsyncStub") -> node_pb2.PodsResponse:
        return await stub.Pods(node_pb2.PodsRequest(node=name), timeout=TIMEOUT_S)

    found = []
    for packed in _ask(kubeconfig, ask).pods:
        pod = corev1.Pod()
        packed.Unpack(pod)
        found.append(pod)
    found.sort(key=lambda pod: (pod.metadata.namespace, pod.metadata.name))
    print(Printer(Format(form, template, with_namespace=True)).render(found), end="")


@node.command()
def images(name: Name, output: Output = "", kubeconfig: options.Kubeconfig = None) -> None:
    """List the images of a node, the largest first, with who uses them."""
    form = checked_format(output)

    async def ask(stub: "node_pb2_grpc.NodeAsyncStub") -> node_pb2.ImagesResponse:
        return await stub.Images(node_pb2.ImagesRequest(node=name), timeout=TIMEOUT_S)

    answer = _ask(kubeconfig, ask)
    if form in ("json", "yaml"):
        print(rendered(document(answer), form), end="")
    else:
        print_rows(node_tables.IMAGES, node_tables.image_rows(answer.images, time.time(), wide=form == "wide"))


@node.command()
def stats(name: Name, output: Output = "", kubeconfig: options.Kubeconfig = None) -> None:
    """Show what a node and its Pods use; with -o wide, each container."""
    form = checked_format(output)

    async def ask(stub: "node_pb2_grpc.NodeAsyncStub") -> stats_pb2.Summary:
        return await stub.Summarize(node_pb2.SummarizeRequest(node=name), timeout=TIMEOUT_S)

    answer = _ask(kubeconfig, ask)
    if form in ("json", "yaml"):
        print(rendered(document(answer), form), end="")
    elif form == "wide":
        print_rows(node_tables.OF_CONTAINERS, node_tables.container_rows(answer))
    else:
        print_rows(node_tables.USAGE, node_tables.usage_rows(answer))


@node.command()
def logs(
    name: Name,
    unit: Annotated[str, typer.Argument(help="A service of the host. Default: the kubelet.", metavar="UNIT")] = "",
    tail: Annotated[int, typer.Option(min=1, help="So many lines from the end.")] = 100,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Print what the kubelet, or another service of a node, has written last."""

    async def ask(stub: "node_pb2_grpc.NodeAsyncStub") -> node_pb2.UnitLogsResponse:
        return await stub.UnitLogs(node_pb2.UnitLogsRequest(node=name, unit=unit, tail_lines=tail), timeout=TIMEOUT_S)

    sys.stdout.buffer.write(_ask(kubeconfig, ask).data)


@node.command()
def debug(
    words: Annotated[list[str], typer.Argument(help="POD, or TYPE/NAME of what owns Pods", metavar="POD")],
    namespace: options.Namespace = "",
    output: Output = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Say on one page why a Pod does not run."""
    form = checked_format(output)

    async def work(session: Session) -> str:
        target = targets.parse_one(words).within(session.namespace(namespace))
        facts = await gather(session, await _pod_of(session, target))
        found = findings(facts)
        if form in ("json", "yaml"):
            return rendered(diagnosis(facts, found), form)
        return page(facts, found, [events.row(event, facts.now) for event in facts.events])

    print(with_session(kubeconfig, work), end="")


async def _pod_of(session: Session, target: Target) -> corev1.Pod:
    """The Pod to look at: of several, one that is not well. Raises UsageError that tells why there is none."""
    try:
        found = await pods_of(session, target)
    except UsageError as none:
        if why := await _refusals(session, target):
            raise UsageError(f"{target} has no Pods: {why}") from none
        raise
    return min(found, key=lambda pod: is_well(pod))


async def _refusals(session: Session, target: Target) -> str:
    """What was last said against new Pods of an owner: by a quota, a limit, an admission."""
    owner = await session.client.get(target.cls, target.name, target.namespace)
    sets = (await session.client.list(appsv1.ReplicaSet, target.namespace)).items
    uids = [metadata_of(owner).uid, *(one.metadata.uid for one in sets if is_controlled_by(one, owner))]
    told = [event for uid in uids for event in await events_about(session, target.namespace, uid)]
    return next((event.message for event in reversed(told) if event.reason == "FailedCreate"), "")
