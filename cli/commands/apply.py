"""``navarch apply`` and ``create``: make the cluster hold what the manifests say.

Applying creates a new object; one that exists is merged three ways: what the user applied last (kept in an
annotation, the one kubectl uses), what they apply now, and what is there. Fields that others set stay.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import typer
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from navarch.cli import manifests, options
from navarch.cli.errors import UsageError, explain, refusal
from navarch.cli.manifests import Manifest
from navarch.cli.output.printing import Format, Printer, parse_output
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target, singular
from navarch.services.api import codec
from navarch.services.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from navarch.services.api.meta import metadata_of
from navarch.services.api.patches import three_way
from navarch.services.client.client import Client

RETRIES = 5
DRY_RUNS = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one manifest."""

    object: Message
    verb: str


Act = Callable[[Client, Manifest, str], Awaitable[Outcome]]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(apply)
    app.command()(create)


def apply(
    filename: options.Files = None,
    recursive: options.Recursive = False,
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Create objects from manifests, or change them to what the manifests say."""
    checked = _dry_run(dry_run)

    async def act(client: Client, found: Manifest, default_namespace: str) -> Outcome:
        return await _apply(client, found, found.target(default_namespace), dry_run=checked)

    _each(filename, recursive, namespace, kubeconfig, _Report(output, DRY_RUNS[dry_run]), act)


def create(
    filename: options.Files = None,
    recursive: options.Recursive = False,
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Create objects from manifests; one that exists is an error."""
    checked = _dry_run(dry_run)

    async def act(client: Client, found: Manifest, default_namespace: str) -> Outcome:
        space = (found.namespace or default_namespace) if found.kind.namespaced else ""
        return Outcome(await client.create(found.message, namespace=space, dry_run=checked), "created")

    _each(filename, recursive, namespace, kubeconfig, _Report(output, DRY_RUNS[dry_run]), act)


def _dry_run(chosen: str) -> bool:
    """Whether nothing is to be stored; the server checks in any case, it knows best."""
    if chosen not in DRY_RUNS:
        raise UsageError(f"--dry-run {chosen!r}: accepted are {', '.join(DRY_RUNS)}")
    return chosen != "none"


class _Report:
    """Tells of each object as it is done, or prints them all at the end."""

    def __init__(self, output: str, suffix: str) -> None:
        name, template = parse_output(output)
        self._printer = Printer(Format(name, template)) if output else None
        self._suffix = suffix
        self._objects: list[Message] = []

    def done(self, found: Manifest, outcome: Outcome) -> None:
        """One object is as it should be."""
        if self._printer is not None:
            self._objects.append(outcome.object)
            return
        print(f"{singular(found.kind)}/{metadata_of(outcome.object).name} {outcome.verb}{self._suffix}", flush=True)

    def end(self) -> None:
        """All are done."""
        if self._printer is not None and self._objects:
            print(self._printer.render(self._objects, single=len(self._objects) == 1), end="")


def _each(
    files: Sequence[str] | None,
    recursive: bool,
    namespace: str,
    kubeconfig: Path | None,
    report: _Report,
    act: Act,
) -> None:
    """Act on every manifest; one that fails is reported and does not keep the others from being used."""
    if not files:
        raise UsageError("nothing to do: name a file, a directory or - with -f")

    async def work(session: Session) -> int:
        failures = 0
        for found in manifests.load(files, recursive):
            try:
                if isinstance(found, UsageError):
                    raise found
                if namespace and found.namespace and found.kind.namespaced and namespace != found.namespace:
                    raise UsageError(
                        f"{found.place}: metadata.namespace is {found.namespace}, the command line says {namespace}"
                    )
                report.done(found, await act(session.client, found, session.namespace(namespace)))
            except UsageError as error:
                failures += 1
                print(explain(error), file=sys.stderr)
            except ApiError as error:
                failures += 1
                print(refusal(error, found.place if isinstance(found, Manifest) else ""), file=sys.stderr)
        report.end()
        return failures

    if with_session(kubeconfig, work):
        raise typer.Exit(1)


async def _apply(client: Client, found: Manifest, target: Target, *, dry_run: bool) -> Outcome:
    pinned = bool(metadata_of(found.message).resource_version)
    for _ in range(RETRIES):
        try:
            live = await client.get(target.cls, target.name, target.namespace)
        except NotFound:
            annotated = codec.from_json(three_way.annotated(found.content), target.cls)
            try:
                created = await client.create(annotated, namespace=target.namespace, dry_run=dry_run)
            except AlreadyExists:
                continue
            return Outcome(created, "created")
        schema = None if target.kind.is_custom else cast("Descriptor", live.DESCRIPTOR)
        patch = three_way.patch_for(codec.to_json(live), found.content, schema)
        if not patch:
            return Outcome(live, "unchanged")
        try:
            changed = await client.patch(
                target.cls,
                target.name,
                target.namespace,
                patch,
                "merge" if target.kind.is_custom else "strategic",
                dry_run=dry_run,
            )
        except Conflict:
            if pinned:
                raise
            continue
        same = metadata_of(changed).resource_version == metadata_of(live).resource_version
        return Outcome(changed, "unchanged" if same and not dry_run else "configured")
    raise Conflict(found.kind, found.name, "somebody else keeps changing it; try again")
