"""``navarch events``: what happened, oldest first."""

import sys
import time
from contextlib import aclosing
from typing import Annotated

import typer

from navarch.cli import options, targets
from navarch.cli.errors import UsageError
from navarch.cli.output.table import Columns
from navarch.cli.session import Session, with_session
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import human_duration, unix

HEADER = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
TYPES = ("Normal", "Warning")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(events)


def events(
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    of: Annotated[str, typer.Option("--for", help="Only of this object: TYPE/NAME.")] = "",
    types: Annotated[str, typer.Option(help="Only Normal or only Warning.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then go on with every event.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """List events, oldest first."""
    fields = _fields(of, types)

    async def work(session: Session) -> None:
        space = "" if all_namespaces else session.namespace(namespace)
        columns = Columns()

        def show(found: list[corev1.Event], *, with_header: bool) -> None:
            now = time.time()
            header = ["NAMESPACE", *HEADER] if all_namespaces else HEADER
            rows = [[event.metadata.namespace, *row(event, now)][not all_namespaces :] for event in found]
            print(columns.format(header, rows, with_header=with_header), end="", flush=True)

        listed = await session.client.list(corev1.Event, space, field_selector=fields)
        if listed.items or watch:
            show(sorted(listed.items, key=last_seen), with_header=True)
        else:
            print("No events found" + (f" in {space} namespace." if space else ""), file=sys.stderr)
        while watch:
            following = session.client.watch(
                corev1.Event, space, field_selector=fields, resource_version=listed.resource_version
            )
            async with aclosing(following) as changes:
                async for change in changes:
                    if change.type in ("ADDED", "MODIFIED"):
                        show([change.object], with_header=False)

    with_session(kubeconfig, work)


def _fields(of: str, types: str) -> str:
    if types and types not in TYPES:
        raise UsageError(f"--types {types!r}: accepted are {', '.join(TYPES)}")
    fields = [f"type={types}"] if types else []
    if of:
        target = targets.parse_one([of])
        fields += [f"involvedObject.kind={target.kind.kind}", f"involvedObject.name={target.name}"]
    return ",".join(fields)


def last_seen(event: corev1.Event) -> float:
    """Unix time of the last occurrence."""
    times = [unix(one) for one in (event.last_timestamp, event.first_timestamp, event.event_time) if one.seconds]
    return times[0] if times else unix(event.metadata.creation_timestamp)


def row(event: corev1.Event, now: float) -> list[str]:
    """The cells of one event."""
    seen = human_duration(now - last_seen(event))
    if event.count > 1:
        seen += f" (x{event.count} over {human_duration(now - unix(event.first_timestamp))})"
    about = event.involved_object
    return [seen, event.type, event.reason, f"{about.kind.lower()}/{about.name}", event.message.strip()]
