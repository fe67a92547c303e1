"""``navarch describe``: one object in words, with its events: what it is, and why it is not what it should be."""

import time

import typer
import yaml
from google.protobuf.message import Message

from navarch.cli import options, targets
from navarch.cli.commands.events import last_seen, row
from navarch.cli.output import description
from navarch.cli.output.table import format_rows
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.meta import metadata_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(describe)


def describe(
    words: options.Words,
    namespace: options.Namespace = "default",
    selector: options.Labels = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show everything that is known of objects, with their events."""

    async def work(session: Session) -> None:
        pages = []
        for target in targets.parse(words):
            space = namespace if target.kind.namespaced else ""
            if target.name:
                found = [await session.client.get(target.cls, target.name, space)]
            else:
                found = (await session.client.list(target.cls, space, label_selector=selector)).items
            pages += [_page(target, one, await _events(session, one)) for one in found]
        print("\n\n".join(pages) if pages else f"No resources found in {namespace} namespace.", end="")

    with_session(kubeconfig, work)


async def _events(session: Session, one: Message) -> list[corev1.Event]:
    meta = metadata_of(one)
    fields = f"involvedObject.uid={meta.uid}"
    found = (await session.client.list(corev1.Event, meta.namespace, field_selector=fields)).items
    return sorted(found, key=last_seen)


def _page(target: Target, one: Message, events: list[corev1.Event]) -> str:
    describer = description.DESCRIBERS.get(target.kind.kind)
    if describer is not None and not target.kind.group.count("."):
        text = describer(one)
    else:
        document = codec.to_json(one)
        text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False)
    if not events:
        return f"{text}Events: <none>\n"
    now = time.time()
    cells = [row(event, now) for event in events]
    table = format_rows(
        ["TYPE", "REASON", "AGE", "MESSAGE"],
        [[kind, reason, seen, message] for seen, kind, reason, _, message in cells],
    )
    return f"{text}Events:\n" + "".join(f"  {line}\n" for line in table.splitlines())
