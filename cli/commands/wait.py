"""``navarch wait``: return when objects are in a condition, gone, or hold a value."""

import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated, Any

import typer

from navarch.cli import durations, options
from navarch.cli.commands.delete import wait_gone
from navarch.cli.errors import UsageError
from navarch.cli.output import jsonpath
from navarch.cli.selection import Query
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api import codec
from navarch.services.api.errors import Expired
from navarch.services.client.client import Client

Test = Callable[[dict[str, Any]], bool]

ACCEPTED = "condition=NAME[=VALUE], delete, create, jsonpath={PATH}[=VALUE]"
_JSONPATH = re.compile(r"'?(\{.*\}|[^{}=]+)'?(?:=(.*))?", re.DOTALL)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(wait)


def wait(
    condition: Annotated[str, typer.Option("--for", help=ACCEPTED)],
    words: options.OptionalWords = None,
    filename: options.Files = None,
    namespace: options.Namespace = "",
    all_namespaces: options.AllNamespaces = False,
    selector: options.Labels = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the type.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait: 30s, 5m, 1h. 0 checks once.")] = "30s",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Wait until every named object fulfils the condition."""
    limit = durations.seconds(timeout)
    test = parse_condition(condition)
    query = Query(words or (), filename or (), False, namespace, all_namespaces, selector, every=every)

    async def work(session: Session) -> int:
        found = await query.names(session)
        if not found and condition != "delete":
            raise UsageError("no matching resources found")
        waits = (_wait_one(session.client, one, condition, test, limit) for one in found)
        return (await asyncio.gather(*waits)).count(False)

    if with_session(kubeconfig, work):
        raise typer.Exit(1)


async def _wait_one(client: Client, target: Target, condition: str, test: Test, limit_s: float) -> bool:
    """Wait for one object and say how it ended."""
    if condition not in ("create", "delete"):
        # What does not exist is an error at once, not something to wait for.
        await client.get(target.cls, target.name, target.namespace)
    try:
        if limit_s == 0:
            met = await _holds_now(client, target, condition, test)
        else:
            async with asyncio.timeout(limit_s):
                await (wait_gone(client, target) if condition == "delete" else _until(client, target, test))
            met = True
    except TimeoutError:
        met = False
    if met:
        print(f"{target} condition met", flush=True)
    else:
        name = f"{target.kind.resource}/{target.name}"
        print(f"error: timed out waiting for the condition on {name}", file=sys.stderr)
    return met


async def _holds_now(client: Client, target: Target, condition: str, test: Test) -> bool:
    only = f"metadata.name={target.name}"
    listed = (await client.list(target.cls, target.namespace, field_selector=only)).items
    return not listed if condition == "delete" else bool(listed) and test(codec.to_json(listed[0]))


async def _until(client: Client, target: Target, test: Test) -> None:
    """Return when the test holds. An object that is deleted goes on counting: it may come again."""
    only = f"metadata.name={target.name}"
    while True:
        try:
            async with aclosing(client.watch(target.cls, target.namespace, field_selector=only)) as events:
                async for event in events:
                    if event.type in ("ADDED", "MODIFIED") and test(codec.to_json(event.object)):
                        return
        except Expired:
            continue


def parse_condition(text: str) -> Test:
    """The meaning of --for. Raises UsageError."""
    name, _, argument = text.partition("=")
    match name:
        case "create" | "delete" if not argument:
            return lambda document: True
        case "condition" if argument:
            wanted, _, value = argument.partition("=")
            return lambda document: _condition_is(document, wanted.lower(), (value or "true").lower())
        case "jsonpath" if argument and (match := _JSONPATH.fullmatch(argument)):
            path, expected = match[1], match[2]
            jsonpath.values(path, {})
            return lambda document: _path_is(document, path, expected)
    raise UsageError(f"--for {text!r}: accepted are {ACCEPTED}")


def _condition_is(document: dict[str, Any], name: str, value: str) -> bool:
    status = document.get("status", {})
    generation = document["metadata"].get("generation", 0)
    for one in status.get("conditions", ()):
        if one["type"].lower() == name:
            # A condition that was found for an older spec says nothing of the present one.
            observed = one.get("observedGeneration") or status.get("observedGeneration") or generation
            return bool(one["status"].lower() == value and observed >= generation)
    return False


def _path_is(document: dict[str, Any], path: str, expected: str | None) -> bool:
    found = jsonpath.values(path, document)
    if expected is None:
        return bool(found)
    return len(found) == 1 and jsonpath.shown(found[0]) == expected.strip("'")
