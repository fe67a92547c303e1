"""``navarch get``: objects as tables, YAML, JSON or by template; once, or as they change."""

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer
from google.protobuf.message import Message

from navarch.cli import manifests, options, targets
from navarch.cli.output.printing import Printer
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.client.client import Client

PAGE = 500


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(get)


def get(
    words: Annotated[list[str] | None, typer.Argument(help="TYPE, TYPE NAME..., or TYPE/NAME...")] = None,
    filename: options.Files = None,
    namespace: options.Namespace = "default",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Labels = "",
    field_selector: Annotated[str, typer.Option(help="Only objects with these fields: status.phase=Running.")] = "",
    output: options.Output = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then go on with every change.")] = False,
    show_labels: Annotated[bool, typer.Option(help="Add a column with the labels.")] = False,
    no_headers: Annotated[bool, typer.Option(help="Without the header line.")] = False,
    ignore_not_found: Annotated[bool, typer.Option(help="What is not there is fine.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show objects."""
    printer = Printer(output, with_namespace=all_namespaces, show_labels=show_labels, with_header=not no_headers)
    wanted = (
        [Target(one.kind, one.name) for one in manifests.require_all(filename)]
        if filename
        else targets.parse(words or [])
    )

    async def work(session: Session) -> None:
        space = "" if all_namespaces else namespace
        objects, versions = await _read(session.client, wanted, space, selector, field_selector)
        single = len(wanted) == 1 and bool(wanted[0].name)
        if objects or not printer.is_table:
            prefixed = len({target.kind for target in wanted}) > 1
            print(printer.render(objects, single=single, prefixed=prefixed), end="", flush=True)
            if output.startswith("jsonpath"):
                print()
        elif not watch and not ignore_not_found:
            print("No resources found" + ("" if all_namespaces else f" in {namespace} namespace."))
        if watch:
            following = Printer(output, with_namespace=all_namespaces, show_labels=show_labels, with_header=False)
            async with asyncio.TaskGroup() as group:
                for target, version in versions:
                    group.create_task(
                        _follow(session.client, target, space, selector, field_selector, version, following)
                    )

    with_session(kubeconfig, work)


async def _read(
    client: Client, wanted: list[Target], namespace: str, selector: str, field_selector: str
) -> tuple[list[Message], list[tuple[Target, str]]]:
    """The objects, and for each target the resource version from which a watch goes on."""
    objects: list[Message] = []
    versions = []
    for target in wanted:
        space = namespace if target.kind.namespaced else ""
        if target.name:
            found = await client.get(target.cls, target.name, space)
            objects.append(found)
            versions.append((target, found.metadata.resource_version))  # type: ignore[attr-defined]
            continue
        token = ""
        while True:
            page = await client.list(
                target.cls,
                space,
                label_selector=selector,
                field_selector=field_selector,
                limit=PAGE,
                continue_token=token,
            )
            objects += page.items
            token = page.continue_token
            if not token:
                break
        versions.append((target, page.resource_version))
    return objects, versions


async def _follow(
    client: Client, target: Target, namespace: str, selector: str, fields: str, version: str, printer: Printer
) -> None:
    fields = f"metadata.name={target.name}" if target.name else fields
    space = namespace if target.kind.namespaced else ""
    while True:
        watching = client.watch(
            target.cls, space, label_selector=selector, field_selector=fields, resource_version=version
        )
        async with aclosing(watching) as events:
            async for event in events:
                version = event.object.metadata.resource_version  # type: ignore[attr-defined]
                if event.type != "BOOKMARK":
                    print(printer.render([event.object], single=True), end="", flush=True)
