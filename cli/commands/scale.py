"""``navarch scale``: how many replicas."""

from typing import Annotated

import typer

from navarch.cli import options, targets
from navarch.cli.session import Session, with_session
from navarch.services.api.errors import Conflict


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scale)


def scale(
    words: options.Words,
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="The wanted number.")],
    namespace: options.Namespace = "default",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Set the number of replicas of a Deployment, ReplicaSet or StatefulSet."""

    async def work(session: Session) -> None:
        for target in targets.parse(words):
            while True:
                wanted = await session.client.get_scale(target.cls, target.name, namespace)
                wanted.spec.replicas = replicas
                try:
                    await session.client.update_scale(target.cls, wanted)
                except Conflict:
                    continue
                break
            print(f"{target} scaled")

    with_session(kubeconfig, work)
