"""``navarch events``: what happened, oldest first."""

import time
from typing import Annotated

import typer

from navarch.cli import options, targets
from navarch.cli.output.table import print_rows
from navarch.cli.session import Session, with_session
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import human_duration, unix

HEADER = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(events)


def events(
    namespace: options.Namespace = "default",
    all_namespaces: options.AllNamespaces = False,
    of: Annotated[str, typer.Option("--for", help="Only of this object: TYPE/NAME.")] = "",
    types: Annotated[str, typer.Option(help="Only Normal or only Warning.")] = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """List events, oldest first."""

    async def work(session: Session) -> None:
        fields = [f"type={types}"] if types else []
        if of:
            target = targets.parse_one([of])
            fields += [f"involvedObject.kind={target.kind.kind}", f"involvedObject.name={target.name}"]
        space = "" if all_namespaces else namespace
        listed = await session.client.list(corev1.Event, space, field_selector=",".join(fields))
        found = sorted(listed.items, key=last_seen)
        if not found:
            print("No events found" + ("" if all_namespaces else f" in {namespace} namespace."))
            return
        now = time.time()
        header = ["NAMESPACE", *HEADER] if all_namespaces else HEADER
        print_rows(header, [[event.metadata.namespace, *row(event, now)][not all_namespaces :] for event in found])

    with_session(kubeconfig, work)


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
