"""``navarch apply``: make the cluster hold what the manifests say.

A new object is created; one that exists is merged three ways: what the user applied last (kept in an
annotation, the one kubectl uses), what they apply now, and what is there. Fields that others set stay.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from navarch.cli import manifests, options
from navarch.cli.cluster.layout import UsageError
from navarch.cli.manifests import Manifest
from navarch.cli.session import Session, with_session
from navarch.services.api import codec
from navarch.services.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from navarch.services.api.patches import three_way
from navarch.services.client.client import Client

RETRIES = 5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(apply)
    app.command()(create)


def apply(
    filename: options.Files = None,
    namespace: options.Namespace = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server check, but store nothing.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Create objects from manifests, or change them to what the manifests say."""
    _each(filename, kubeconfig, lambda client, one: _apply(client, one, namespace, dry_run))


def create(
    filename: options.Files = None,
    namespace: options.Namespace = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server check, but store nothing.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Create objects from manifests; one that exists is an error."""

    async def one(client: Client, found: Manifest) -> str:
        space = _namespace(found, namespace)
        created = await client.create(found.message, namespace=space, dry_run=dry_run)
        return f"{_title(found, created.metadata.name)} created"  # type: ignore[attr-defined]

    _each(filename, kubeconfig, one)


def _each(
    filename: list[str] | None, kubeconfig: Path | None, act: Callable[[Client, Manifest], Awaitable[str]]
) -> None:
    if not filename:
        raise UsageError("nothing to do: name a file, a directory or - with -f")

    async def work(session: Session) -> int:
        failures = 0
        for found in manifests.load(filename):
            if isinstance(found, Exception):
                failures += 1
                print(f"error: {found}", file=sys.stderr)
                continue
            try:
                print(await act(session.client, found))
            except ApiError as error:
                failures += 1
                print(f"Error from server ({error.reason}): {_title(found)}: {error.message}", file=sys.stderr)
        return failures

    if with_session(kubeconfig, work):
        raise typer.Exit(1)


async def _apply(client: Client, found: Manifest, namespace: str, dry_run: bool) -> str:
    space = _namespace(found, namespace)
    suffix = " (dry run)" if dry_run else ""
    for _ in range(RETRIES):
        try:
            live = await client.get(type(found.message), found.name, space)
        except NotFound:
            annotated = codec.from_json(three_way.annotated(found.content), type(found.message))
            try:
                await client.create(annotated, namespace=space, dry_run=dry_run)
            except AlreadyExists:
                continue
            return f"{_title(found)} created{suffix}"
        patch = three_way.patch_for(codec.to_json(live), found.content, live.DESCRIPTOR)
        if not patch:
            return f"{_title(found)} unchanged{suffix}"
        try:
            changed = await client.patch(type(found.message), found.name, space, patch, dry_run=dry_run)
        except Conflict:
            continue
        same = changed.metadata.resource_version == live.metadata.resource_version  # type: ignore[attr-defined]
        return f"{_title(found)} {'unchanged' if same and not dry_run else 'configured'}{suffix}"
    raise Conflict(found.kind, found.name, "somebody else keeps changing it; try again")


def _namespace(found: Manifest, chosen: str) -> str:
    if not found.kind.namespaced:
        return ""
    if chosen and found.namespace and chosen != found.namespace:
        raise UsageError(f"{_title(found)}: the manifest says namespace {found.namespace}, the command line {chosen}")
    return found.namespace or chosen or "default"


def _title(found: Manifest, name: str = "") -> str:
    group = f".{found.kind.group}" if found.kind.group else ""
    return f"{found.kind.singular}{group}/{name or found.name}"
