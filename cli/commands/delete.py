"""``navarch delete``: objects by name, by label or by manifest."""

import asyncio
import sys
from contextlib import aclosing
from typing import Annotated

import typer

from navarch.cli import durations, options
from navarch.cli.errors import UsageError, refusal
from navarch.cli.selection import Query
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api.errors import ApiError, Expired, NotFound
from navarch.services.api.meta import metadata_of
from navarch.services.client.client import Client

POLICIES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(delete)


def delete(
    words: options.OptionalWords = None,
    filename: options.Files = None,
    recursive: options.Recursive = False,
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Labels = "",
    field_selector: options.Fields = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the type in the namespace.")] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds to end in; -1 leaves it to the object.")] = -1,
    now: Annotated[bool, typer.Option("--now", help="End within a second.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for the node's word: grace period 0.")] = False,
    cascade: Annotated[str, typer.Option(help="background, foreground or orphan.")] = "background",
    ignore_not_found: options.IgnoreNotFound = False,
    wait: Annotated[bool, typer.Option(help="Return when the objects are gone.")] = True,
    timeout: options.Timeout = "0",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Delete objects and, by default, wait until they are gone."""
    if cascade not in POLICIES:
        raise UsageError(f"--cascade {cascade!r}: accepted are {', '.join(POLICIES)}")
    grace = 0 if force else 1 if now else None if grace_period < 0 else grace_period
    limit = durations.limit(timeout)
    query = Query(
        words or (), filename or (), recursive, namespace, all_namespaces, selector, field_selector, every=every
    )

    async def work(session: Session) -> int:
        if force:
            print("Warning: a forced deletion does not wait until containers have ended.", file=sys.stderr)
        found = await query.names(session)
        if not found:
            print("No resources found", file=sys.stderr)
        failures, pending = 0, []
        for target in found:
            try:
                left = await session.client.delete(
                    target.cls,
                    target.name,
                    target.namespace,
                    grace_period_seconds=grace,
                    propagation_policy=POLICIES[cascade],
                )
            except ApiError as error:
                if not (ignore_not_found and isinstance(error, NotFound)):
                    print(refusal(error), file=sys.stderr)
                    failures += 1
                continue
            where = f" from {target.namespace} namespace" if target.namespace else ""
            print(f'{target.type} "{target.name}" {"force " if force else ""}deleted{where}', flush=True)
            if left is not None:
                pending.append((target, metadata_of(left).uid))
        if wait:
            await _all_gone(session.client, pending, limit)
        return failures

    if with_session(kubeconfig, work):
        raise typer.Exit(1)


async def _all_gone(client: Client, pending: list[tuple[Target, str]], limit_s: float | None) -> None:
    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
            for target, uid in pending:
                group.create_task(wait_gone(client, target, uid))
    except TimeoutError:
        raise UsageError(
            f"timed out after {limit_s:g} s: still being deleted; finalizers hold them? navarch get TYPE NAME -o yaml"
        ) from None


async def wait_gone(client: Client, target: Target, uid: str = "") -> None:
    """Return when the object (of that uid, where one is given) no longer exists."""
    only = f"metadata.name={target.name}"
    while True:
        listed = await client.list(target.cls, target.namespace, field_selector=only)
        if not any(not uid or metadata_of(one).uid == uid for one in listed.items):
            return
        watching = client.watch(
            target.cls, target.namespace, field_selector=only, resource_version=listed.resource_version
        )
        try:
            async with aclosing(watching) as events:
                async for event in events:
                    if event.type == "DELETED":
                        break
        except Expired:
            continue
