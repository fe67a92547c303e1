"""``navarch rollout``: how a Deployment's change is going, what it was before, and back to that."""

import asyncio
import re
import time
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import typer

from navarch.cli import options, targets
from navarch.cli.cluster.layout import UsageError
from navarch.cli.output.table import print_rows
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api import codec
from navarch.services.api.labels import Selector
from navarch.services.api.meta import controller_of, find_condition
from navarch.services.client.client import Client

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
TEMPLATE_HASH = "pod-template-hash"

rollout = typer.Typer(help="Follow, undo, restart or pause the rollout of a Deployment.", no_args_is_help=True)
Revision = Annotated[int, typer.Option("--to-revision", help="Which revision; 0 is the one before.")]


def register(app: typer.Typer) -> None:
    """Add the command with its verbs."""
    app.add_typer(rollout, name="rollout")


@rollout.command()
def status(
    words: options.Words,
    namespace: options.Namespace = "default",
    watch: Annotated[bool, typer.Option(help="Go on until it has finished.")] = True,
    timeout: options.Timeout = "0",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Say how far a rollout is, until it is done."""
    target = _deployment(words)
    limit = options.seconds(timeout) or None

    async def work(session: Session) -> None:
        shown = ""
        only = f"metadata.name={target.name}"
        await session.client.get(appsv1.Deployment, target.name, namespace)
        async with aclosing(session.client.watch(appsv1.Deployment, namespace, field_selector=only)) as events:
            async for event in events:
                if event.type == "DELETED":
                    raise UsageError(f"{target} was deleted")
                if event.type == "BOOKMARK":
                    continue
                message, done = progress(event.object)
                if message != shown:
                    print(message, flush=True)
                    shown = message
                if done or not watch:
                    return

    async def limited(session: Session) -> None:
        try:
            async with asyncio.timeout(limit):
                await work(session)
        except TimeoutError as error:
            raise UsageError(f"{target} is not rolled out after {timeout}. Why: navarch describe {target}") from error

    with_session(kubeconfig, limited)


def progress(deployment: appsv1.Deployment) -> tuple[str, bool]:
    """What to say of a rollout, and whether it has ended. Raises UsageError when it missed its deadline."""
    name, wanted, found = deployment.metadata.name, deployment.spec.replicas, deployment.status
    if found.observed_generation < deployment.metadata.generation:
        return "Waiting for deployment spec update to be observed...", False
    progressing = find_condition(found.conditions, "Progressing")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        raise UsageError(f'deployment "{name}" exceeded its progress deadline')
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if found.updated_replicas < wanted:
        return f"{waiting}{found.updated_replicas} out of {wanted} new replicas have been updated...", False
    if found.replicas > found.updated_replicas:
        return f"{waiting}{found.replicas - found.updated_replicas} old replicas are pending termination...", False
    if found.available_replicas < found.updated_replicas:
        return (
            f"{waiting}{found.available_replicas} of {found.updated_replicas} updated replicas are available...",
            False,
        )
    return f'deployment "{name}" successfully rolled out', True


@rollout.command()
def history(
    words: options.Words,
    namespace: options.Namespace = "default",
    revision: Annotated[int, typer.Option(help="Show the Pod template of this revision.")] = 0,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """List the revisions that are kept."""
    target = _deployment(words)

    async def work(session: Session) -> None:
        _, revisions = await _revisions(session.client, target, namespace)
        if revision:
            if revision not in revisions:
                raise UsageError(
                    f"{target} has no revision {revision}; it has {', '.join(map(str, sorted(revisions)))}"
                )
            import yaml

            print(f"{target} with revision #{revision}")
            print(yaml.safe_dump(codec.to_json(revisions[revision].spec.template), sort_keys=False), end="")
            return
        print(target)
        rows = [
            [str(number), revisions[number].metadata.annotations.get(CHANGE_CAUSE, "<none>")]
            for number in sorted(revisions)
        ]
        print_rows(["REVISION", "CHANGE-CAUSE"], rows)

    with_session(kubeconfig, work)


@rollout.command()
def undo(
    words: options.Words,
    to_revision: Revision = 0,
    namespace: options.Namespace = "default",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Go back to an earlier revision."""
    target = _deployment(words)

    async def work(session: Session) -> None:
        deployment, revisions = await _revisions(session.client, target, namespace)
        if deployment.spec.paused:
            raise UsageError(f"{target} is paused; resume it first: navarch rollout resume {target}")
        current = int(deployment.metadata.annotations.get(REVISION, "0"))
        earlier = sorted(number for number in revisions if number < current)
        number = to_revision or (earlier[-1] if earlier else 0)
        if number not in revisions:
            raise UsageError(f"{target}: no revision {number or 'before this one'} is kept")
        template = codec.to_json(revisions[number].spec.template)
        template.get("metadata", {}).get("labels", {}).pop(TEMPLATE_HASH, None)
        if template == codec.to_json(deployment.spec.template):
            print(f"{target} skipped rollback (current template already matches revision {number})")
            return
        patch = [{"op": "replace", "path": "/spec/template", "value": template}]
        await session.client.patch(appsv1.Deployment, target.name, namespace, patch, "json")
        print(f"{target} rolled back")

    with_session(kubeconfig, work)


@rollout.command()
def restart(
    words: options.Words, namespace: options.Namespace = "default", kubeconfig: options.Kubeconfig = None
) -> None:
    """Replace every Pod, as by a change of the template."""
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    template = {"metadata": {"annotations": {RESTARTED_AT: stamp}}}
    _patch(words, namespace, kubeconfig, {"spec": {"template": template}}, "restarted")


@rollout.command()
def pause(
    words: options.Words, namespace: options.Namespace = "default", kubeconfig: options.Kubeconfig = None
) -> None:
    """Hold changes of the template back."""
    _patch(words, namespace, kubeconfig, {"spec": {"paused": True}}, "paused")


@rollout.command()
def resume(
    words: options.Words, namespace: options.Namespace = "default", kubeconfig: options.Kubeconfig = None
) -> None:
    """Let held changes roll out."""
    _patch(words, namespace, kubeconfig, {"spec": {"paused": None}}, "resumed")


def _patch(
    words: list[str], namespace: str, kubeconfig: options.Kubeconfig, patch: dict[str, object], done: str
) -> None:
    target = _deployment(words)

    async def work(session: Session) -> None:
        await session.client.patch(appsv1.Deployment, target.name, namespace, patch)
        print(f"{target} {done}")

    with_session(kubeconfig, work)


def _deployment(words: list[str]) -> Target:
    target = targets.parse_one(words, default="deployment")
    if target.kind.kind != "Deployment":
        raise UsageError(f"{target}: rollouts of {target.kind.resource} are not served yet; of deployments they are")
    return target


async def _revisions(
    client: Client, target: Target, namespace: str
) -> tuple[appsv1.Deployment, dict[int, appsv1.ReplicaSet]]:
    deployment = await client.get(appsv1.Deployment, target.name, namespace)
    selector = str(Selector.of(deployment.spec.selector))
    listed = await client.list(appsv1.ReplicaSet, namespace, label_selector=selector)
    found = {}
    for replica_set in listed.items:
        owner = controller_of(replica_set)
        number = replica_set.metadata.annotations.get(REVISION, "")
        if owner is not None and owner.uid == deployment.metadata.uid and re.fullmatch(r"\d+", number):
            found[int(number)] = replica_set
    return deployment, found
