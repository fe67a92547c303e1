"""``navarch wait``: return when objects are in a condition, gone, or hold a value."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated, Any

import typer

from navarch.cli import options, targets
from navarch.cli.cluster.layout import UsageError
from navarch.cli.commands.delete import wait_gone
from navarch.cli.output import jsonpath
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api import codec
from navarch.services.api.meta import metadata_of
from navarch.services.client.client import Client

Test = Callable[[Any], bool]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(wait)


def wait(
    words: options.Words,
    condition: Annotated[
        str, typer.Option("--for", help="condition=NAME[=VALUE], delete, create or jsonpath={...}=VALUE")
    ],
    namespace: options.Namespace = "default",
    selector: options.Labels = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the type.")] = False,
    timeout: options.Timeout = "30s",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Wait until every named object fulfils the condition."""
    limit = options.seconds(timeout)

    async def work(session: Session) -> None:
        try:
            async with asyncio.timeout(limit):
                found = await _select(session.client, words, namespace, selector, every)
                await asyncio.gather(*(_wait_one(session.client, one, namespace, condition) for one in found))
        except TimeoutError as error:
            raise UsageError(f"timed out after {timeout} waiting for {condition} on {' '.join(words)}") from error

    with_session(kubeconfig, work)


async def _select(client: Client, words: list[str], namespace: str, selector: str, every: bool) -> list[Target]:
    found = []
    for target in targets.parse(words):
        if target.name:
            found.append(target)
            continue
        if not selector and not every:
            raise UsageError(f"wait for which {target.kind.resource}? Name them, or give -l or --all")
        listed = await client.list(target.cls, namespace if target.kind.namespaced else "", label_selector=selector)
        if not listed.items:
            raise UsageError("no matching resources found")
        found += [Target(target.kind, metadata_of(one).name) for one in listed.items]
    return found


async def _wait_one(client: Client, target: Target, namespace: str, condition: str) -> None:
    space = namespace if target.kind.namespaced else ""
    if condition == "delete":
        await wait_gone(client, target, space, "")
    else:
        await until(client, target, space, parse_condition(condition))
    print(f"{target} condition met")


async def until(client: Client, target: Target, namespace: str, test: Test) -> Any:
    """Watch one object until the test holds. Returns the object then. An object that is deleted goes on counting."""
    only = f"metadata.name={target.name}"
    while True:
        async with aclosing(client.watch(target.cls, namespace, field_selector=only)) as events:
            async for event in events:
                if event.type in ("ADDED", "MODIFIED") and test(event.object):
                    return event.object


def parse_condition(text: str) -> Test:
    """The meaning of --for. Raises UsageError."""
    if text == "create":
        return lambda obj: True
    if text.startswith("condition="):
        name, _, value = text.removeprefix("condition=").partition("=")
        wanted = (value or "true").lower()
        return lambda obj: any(
            one.type.lower() == name.lower() and one.status.lower() == wanted for one in obj.status.conditions
        )
    if text.startswith("jsonpath="):
        template, separator, value = text.removeprefix("jsonpath=").strip("'").rpartition("=")
        if not separator:
            return lambda obj: bool(jsonpath.render(text.removeprefix("jsonpath=").strip("'"), codec.to_json(obj)))
        return lambda obj: jsonpath.render(template.strip("'"), codec.to_json(obj)) == value
    raise UsageError(f"--for {text!r}: accepted are condition=NAME[=VALUE], delete, create, jsonpath={{PATH}}=VALUE")
