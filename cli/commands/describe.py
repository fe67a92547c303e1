"""``navarch describe``: one object in words, with its events: what it is, and why it is not what it should be."""

import sys
import time
from collections.abc import Sequence

import typer
from google.protobuf.message import Message

from navarch.cli import options
from navarch.cli.commands.events import last_seen, row
from navarch.cli.errors import refusal
from navarch.cli.output.description.kinds import describe as description_of
from navarch.cli.output.description.lines import table, text
from navarch.cli.selection import Query, list_all
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.errors import NotFound
from navarch.services.api.meta import metadata_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(describe)


def describe(
    words: options.OptionalWords = None,
    filename: options.Files = None,
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Labels = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show everything that is known of objects, with their events. A name may be the beginning of one."""
    query = Query(words or (), filename or (), False, namespace, all_namespaces, selector)

    async def work(session: Session) -> int:
        found: list[tuple[Target, Message]] = []
        failures = 0
        for target in query.targets(session):
            try:
                found += [(target, one) for one in await _objects(session, target, selector)]
            except NotFound as error:
                print(refusal(error), file=sys.stderr)
                failures += 1
        print("\n\n".join([await _page(session, target, one) for target, one in found]), end="")
        if not found and not failures:
            where = "" if all_namespaces else f" in {session.namespace(namespace)} namespace."
            print(f"No resources found{where}", file=sys.stderr)
        return failures

    if with_session(kubeconfig, work):
        raise typer.Exit(1)


async def _objects(session: Session, target: Target, selector: str) -> Sequence[Message]:
    if not target.name:
        return (await list_all(session, target, selector)).items
    try:
        return [await session.client.get(target.cls, target.name, target.namespace)]
    except NotFound:
        every = (await list_all(session, target)).items
        begun = [one for one in every if metadata_of(one).name.startswith(target.name)]
        if not begun:
            raise
        return begun


async def _page(session: Session, target: Target, one: Message) -> str:
    body = description_of(target.kind.group, target.kind.kind, one, await _related(session, one))
    return body + _events_table(await _events(session, one))


async def _related(session: Session, one: Message) -> Sequence[Message]:
    """The objects without which a description would be half of it."""
    match one:
        case corev1.Node():
            fields = f"spec.nodeName={one.metadata.name}"
            return (await session.client.list(corev1.Pod, field_selector=fields)).items
        case corev1.Service():
            labels = f"kubernetes.io/service-name={one.metadata.name}"
            space = one.metadata.namespace
            return (await session.client.list(discoveryv1.EndpointSlice, space, label_selector=labels)).items
        case appsv1.Deployment():
            return (await session.client.list(appsv1.ReplicaSet, one.metadata.namespace)).items
    return ()


async def _events(session: Session, one: Message) -> list[corev1.Event]:
    # A node's events are about its name, for the kubelet that writes them may not know the uid yet.
    meta = metadata_of(one)
    if isinstance(one, corev1.Node):
        fields = f"involvedObject.kind=Node,involvedObject.name={meta.name}"
    else:
        fields = f"involvedObject.uid={meta.uid}"
    found = (await session.client.list(corev1.Event, meta.namespace, field_selector=fields)).items
    return sorted(found, key=last_seen)


def _events_table(events: Sequence[corev1.Event]) -> str:
    now = time.time()
    rows = []
    for event in events:
        seen, kind, reason, _, message = row(event, now)
        rows.append([kind, reason, seen, event.source.component or event.reporting_component, message])
    return text(table("Events", ["Type", "Reason", "Age", "From", "Message"], rows))
