"""``navarch get``: objects as tables, YAML, JSON or by template; once, or as they change."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

import typer
from google.protobuf.message import Message

from navarch.cli import options
from navarch.cli.errors import UsageError, refusal
from navarch.cli.output import jsonpath
from navarch.cli.output.printing import Format, Printer, parse_output
from navarch.cli.selection import Query, list_all
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api import codec
from navarch.services.api.errors import Expired, NotFound
from navarch.services.api.meta import metadata_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(get)


def get(
    words: options.OptionalWords = None,
    filename: options.Files = None,
    recursive: options.Recursive = False,
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Labels = "",
    field_selector: options.Fields = "",
    output: options.Output = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then go on with every change.")] = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="Only the changes from now on.")] = False,
    sort_by: Annotated[str, typer.Option(help="The field to sort by: .metadata.creationTimestamp")] = "",
    at: Annotated[
        str, typer.Option(help="As it was: some time ago (5m), at a time (2026-01-02T15:04:05Z) or at a revision.")
    ] = "",
    label_columns: Annotated[str, typer.Option("--label-columns", "-L", help="A column for each label: a,b.")] = "",
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Add a column with all labels.")] = False,
    show_kind: Annotated[bool, typer.Option("--show-kind", help="Names with their type.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Without the header line.")] = False,
    ignore_not_found: options.IgnoreNotFound = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show objects."""
    if at and (watch or watch_only):
        raise UsageError("--at shows the past, which does not change: leave --watch away")
    name, template = parse_output(output)
    query = Query(words or (), filename or (), recursive, namespace, all_namespaces, selector, field_selector)
    view = Format(
        name,
        template,
        with_namespace=all_namespaces,
        with_labels=show_labels,
        label_columns=tuple(filter(None, label_columns.split(","))),
        with_header=not no_headers,
    )

    async def work(session: Session) -> int:
        targets = query.targets(session)
        several = len({target.kind for target in targets}) > 1
        shown = _View(session, query, Printer(replace(view, with_kind=show_kind or several)), view.is_table, at)
        for target in targets:
            await shown.read(target, ignore_not_found)
        if not watch_only:
            shown.print_all(single=len(targets) == 1 and bool(targets[0].name), sort_by=sort_by)
        if not shown.objects and not shown.failures and view.is_table and not watch and not ignore_not_found:
            everywhere = all_namespaces or not any(target.kind.namespaced for target in targets)
            where = "" if everywhere else f" in {session.namespace(namespace)} namespace."
            print(f"No resources found{where}", file=sys.stderr)
        if watch or watch_only:
            await shown.follow()
        return shown.failures

    if with_session(kubeconfig, work):
        raise typer.Exit(1)


class _View:
    """The objects of one ``get``, and where to go on from."""

    def __init__(self, session: Session, query: Query, printer: Printer, is_table: bool, at: str) -> None:
        self._session, self._query, self._printer, self._is_table = session, query, printer, is_table
        self._at = at
        self._versions: list[tuple[Target, str]] = []
        self.objects: list[Message] = []
        self.failures = 0

    async def read(self, target: Target, ignore_not_found: bool) -> None:
        """Add what the target means; an object that is not there is told and counted."""
        if not target.name:
            listed = await list_all(self._session, target, self._query.labels, self._query.fields, self._at)
            self.objects += listed.items
            self._versions.append((target, listed.resource_version))
            return
        try:
            found = await self._session.client.get(target.cls, target.name, target.namespace, at=self._at)
        except NotFound as error:
            if not ignore_not_found:
                print(refusal(error), file=sys.stderr)
                self.failures += 1
            return
        self.objects.append(found)
        self._versions.append((target, metadata_of(found).resource_version))

    def print_all(self, *, single: bool, sort_by: str) -> None:
        """Print what was read. Formats other than tables also say that there is nothing."""
        if sort_by:
            self.objects.sort(key=lambda one: _sort_key(sort_by, one))
        if self.objects or not (self._is_table or single):
            print(self._printer.render(self.objects, single=single), end="", flush=True)

    async def follow(self) -> None:
        """Print every change, until interrupted."""
        async with asyncio.TaskGroup() as group:
            for target, version in self._versions:
                group.create_task(self._follow(target, version))

    async def _follow(self, target: Target, version: str) -> None:
        only = f"metadata.name={target.name}" if target.name else self._query.fields
        while True:
            watching = self._session.client.watch(
                target.cls,
                target.namespace,
                label_selector=self._query.labels,
                field_selector=only,
                resource_version=version,
            )
            try:
                async with aclosing(watching) as events:
                    async for event in events:
                        version = metadata_of(event.object).resource_version
                        if event.type != "BOOKMARK":
                            print(self._printer.render([event.object], single=True), end="", flush=True)
            except Expired:
                # What was missed cannot be had; the present state is shown again.
                version = ""


def _sort_key(path: str, one: Message) -> tuple[bool, bool, Any]:
    """Missing values first, then numbers, then text."""
    found = jsonpath.values(path, codec.to_json(one))
    if not found:
        return (False, False, 0)
    value = found[0]
    if isinstance(value, (dict, list)):
        raise UsageError(f"--sort-by {path!r} is not a single value")
    is_number = isinstance(value, (int, float))
    return (True, not is_number, value if is_number else str(value))
