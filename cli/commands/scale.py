"""``navarch scale``: how many replicas."""

from typing import Annotated

import typer

from navarch.cli import options
from navarch.cli.errors import UsageError
from navarch.cli.selection import Query
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.services.api.errors import Conflict

RETRIES = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scale)


def scale(
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="The wanted number.")],
    words: options.OptionalWords = None,
    current_replicas: Annotated[int, typer.Option(help="Only if it is this number now; -1: whatever it is.")] = -1,
    filename: options.Files = None,
    namespace: options.Namespace = "",
    selector: options.Labels = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the type in the namespace.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Set the number of replicas of a Deployment, ReplicaSet or StatefulSet."""
    query = Query(words or (), filename or (), namespace=namespace, labels=selector, every=every)

    async def work(session: Session) -> None:
        for target in await query.names(session):
            await _scale(session, target, replicas, current_replicas)
            print(f"{target} scaled", flush=True)

    with_session(kubeconfig, work)


async def _scale(session: Session, target: Target, replicas: int, current: int) -> None:
    if target.kind.subresource("scale") is None:
        raise UsageError(f"{target.kind.resource} cannot be scaled; deployments, replicasets and statefulsets can")
    for _ in range(RETRIES):
        wanted = await session.client.get_scale(target.cls, target.name, target.namespace)
        if current >= 0 and wanted.spec.replicas != current:
            raise UsageError(f"{target} has {wanted.spec.replicas} replicas, not {current}: not scaled")
        wanted.spec.replicas = replicas
        try:
            await session.client.update_scale(target.cls, wanted)
            return
        except Conflict:
            continue
    raise Conflict(target.kind, target.name, "somebody else keeps changing it; try again")
