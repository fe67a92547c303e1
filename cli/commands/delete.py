"""``navarch delete``: objects by name, by label or by manifest."""

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer

from navarch.cli import manifests, options, targets
from navarch.cli.cluster.layout import UsageError
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api.errors import NotFound
from navarch.services.api.meta import metadata_of
from navarch.services.client.client import Client


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(delete)


def delete(
    words: Annotated[list[str] | None, typer.Argument(help="TYPE NAME..., TYPE/NAME..., or TYPE with -l")] = None,
    filename: options.Files = None,
    namespace: options.Namespace = "default",
    selector: options.Labels = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the type in the namespace.")] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds to end in; -1 leaves it to the object.")] = -1,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for the node's word: grace period 0.")] = False,
    cascade: Annotated[str, typer.Option(help="background, foreground or orphan.")] = "background",
    ignore_not_found: Annotated[bool, typer.Option(help="What is not there is fine.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when the objects are gone.")] = True,
    timeout: options.Timeout = "0",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Delete objects and, by default, wait until they are gone."""
    policy = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}.get(cascade)
    if policy is None:
        raise UsageError(f"--cascade {cascade!r}: accepted are background, foreground, orphan")
    grace = 0 if force else None if grace_period < 0 else grace_period

    async def work(session: Session) -> None:
        found = await _select(session.client, words or [], filename or [], namespace, selector, every)
        pending = []
        for target, space in found:
            try:
                left = await session.client.delete(
                    target.cls, target.name, space, grace_period_seconds=grace, propagation_policy=policy
                )
            except NotFound:
                if ignore_not_found:
                    continue
                raise
            print(f'{str(target).rsplit("/", 1)[0]} "{target.name}" {"force " if force else ""}deleted')
            pending.append((target, space, metadata_of(left).uid if left is not None else ""))
        if wait:
            limit = options.seconds(timeout)
            async with asyncio.timeout(limit or None):
                await asyncio.gather(*(wait_gone(session.client, *one) for one in pending))
        if not found:
            print("No resources found")

    with_session(kubeconfig, work)


async def _select(
    client: Client, words: list[str], files: list[str], namespace: str, selector: str, every: bool
) -> list[tuple[Target, str]]:
    if files:
        return [
            (Target(one.kind, one.name), one.namespace or (namespace if one.kind.namespaced else ""))
            for one in manifests.require_all(files)
        ]
    wanted = targets.parse(words)
    found = []
    for target in wanted:
        space = namespace if target.kind.namespaced else ""
        if target.name:
            found.append((target, space))
            continue
        if not selector and not every:
            raise UsageError(f"delete which {target.kind.resource}? Name them, or give -l or --all")
        listed = await client.list(target.cls, space, label_selector=selector)
        found += [(Target(target.kind, metadata_of(one).name), space) for one in listed.items]
    return found


async def wait_gone(client: Client, target: Target, namespace: str, uid: str) -> None:
    """Return when the object of that uid no longer exists (a successor of the same name may)."""
    only = f"metadata.name={target.name}"
    while True:
        listed = await client.list(target.cls, namespace, field_selector=only)
        if not any(not uid or metadata_of(one).uid == uid for one in listed.items):
            return
        watching = client.watch(target.cls, namespace, field_selector=only, resource_version=listed.resource_version)
        async with aclosing(watching) as events:
            async for event in events:
                if event.type == "DELETED":
                    break
