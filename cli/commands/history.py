"""``navarch history``: what an object was before, as far back as the cluster keeps it."""

import sys
import time
from typing import Annotated

import typer
from google.protobuf.message import Message

from navarch.cli import options, targets
from navarch.cli.errors import UsageError
from navarch.cli.output.changes import in_short, print_diff, unified
from navarch.cli.output.table import print_rows
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api.errors import NotFound
from navarch.services.api.meta import human_duration

Diff = Annotated[
    str,
    typer.Option(
        metavar="FROM..TO",
        help="The difference between two moments, each a revision, a time or an age (5m); no TO: now. "
        "A lone revision: what it changed.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(history)


def history(
    words: options.Words,
    diff: Diff = "",
    namespace: options.Namespace = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show the revisions of an object, its deletions too, or the difference between two moments."""
    target = targets.parse_one(words)
    moments = _moments(diff) if diff else None

    async def work(session: Session) -> None:
        found = target.within(session.namespace(namespace))
        if moments is None:
            await _list(session, found)
        else:
            await _diff(session, found, *moments)

    with_session(kubeconfig, work)


def _moments(diff: str) -> tuple[str, str]:
    first, dots, second = diff.partition("..")
    if dots and first:
        return first, second
    if not first.isdigit() or int(first) < 2:
        raise UsageError(f"--diff {diff!r}: write FROM..TO, FROM.. or a revision, for example: 5m..")
    return str(int(first) - 1), first


async def _list(session: Session, target: Target) -> None:
    revisions = await session.client.history(target.cls, target.name, target.namespace)
    now, rows, before = time.time(), list[list[str]](), None
    for index, one in enumerate(revisions):
        # What the history begins with may be older than it.
        change = "as the history begins" if not index and not one.unix_s else in_short(before, one.object)
        ago = human_duration(now - one.unix_s) if one.unix_s else "<unknown>"
        rows.append([str(one.revision), ago, change])
        before = one.object
    print_rows(["REVISION", "AGE", "CHANGE"], rows)


async def _diff(session: Session, target: Target, first: str, second: str) -> None:
    before, after = await _at(session, target, first), await _at(session, target, second)
    if before is None and after is None:
        raise UsageError(f"{target} was there neither at {first} nor {f'at {second}' if second else 'now'}")
    lines = unified(before, after, f"{target} at {first}", f"{target} {f'at {second}' if second else 'now'}")
    if lines:
        print_diff(lines, coloured=sys.stdout.isatty())


async def _at(session: Session, target: Target, at: str) -> Message | None:
    try:
        return await session.client.get(target.cls, target.name, target.namespace, at=at)
    except NotFound:
        return None
