"""``navarch rollout``: how a Deployment's change is going, what it was before, and back to that."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from navarch.cli import durations, options, targets
from navarch.cli.errors import UsageError
from navarch.cli.output.description.lines import text
from navarch.cli.output.description.pods import template
from navarch.cli.output.table import print_rows
from navarch.cli.session import Session, with_session
from navarch.cli.targets import Target
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api import codec
from navarch.services.api.errors import Expired
from navarch.services.api.meta import find_condition, is_controlled_by
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
    namespace: options.Namespace = "",
    watch: Annotated[bool, typer.Option(help="Go on until it has finished.")] = True,
    timeout: options.Timeout = "0",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Say how far a rollout is, until it is done."""
    named = _deployment(words)
    limit = durations.limit(timeout)

    async def work(session: Session) -> None:
        target = named.within(session.namespace(namespace))
        try:
            async with asyncio.timeout(limit):
                await _follow(session.client, target, watch)
        except TimeoutError:
            why = f"navarch describe {target} -n {target.namespace}"
            raise UsageError(f"timed out: {target} is not rolled out after {timeout}. Why: {why}") from None

    with_session(kubeconfig, work)


async def _follow(client: Client, target: Target, watch: bool) -> None:
    """Print each step of a rollout until it is done, or only the present one."""
    shown = ""
    deployment = await client.get(appsv1.Deployment, target.name, target.namespace)
    while True:
        message, done = progress(deployment)
        if message != shown:
            print(message, flush=True)
            shown = message
        if done or not watch:
            return
        deployment = await _next(client, target, deployment.metadata.resource_version)


async def _next(client: Client, target: Target, version: str) -> appsv1.Deployment:
    """The Deployment as it is after its next change."""
    only = f"metadata.name={target.name}"
    while True:
        watching = client.watch(appsv1.Deployment, target.namespace, field_selector=only, resource_version=version)
        try:
            async with aclosing(watching) as events:
                async for event in events:
                    if event.type == "DELETED":
                        raise UsageError(f"{target} was deleted")
                    if event.type != "BOOKMARK":
                        return event.object
                    version = event.object.metadata.resource_version
        except Expired:
            return await client.get(appsv1.Deployment, target.name, target.namespace)


def progress(deployment: appsv1.Deployment) -> tuple[str, bool]:
    """What to say of a rollout, and whether it has ended. Raises UsageError when it missed its deadline."""
    name, wanted, found = deployment.metadata.name, deployment.spec.replicas, deployment.status
    if found.observed_generation < deployment.metadata.generation:
        return "Waiting for deployment spec update to be observed...", False
    progressing = find_condition(found.conditions, "Progressing")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        raise UsageError(f'deployment "{name}" exceeded its progress deadline')
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    updated, available = found.updated_replicas, found.available_replicas
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new replicas have been updated...", False
    if found.replicas > updated:
        return f"{waiting} {found.replicas - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting} {available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


@rollout.command()
def history(
    words: options.Words,
    namespace: options.Namespace = "",
    revision: Annotated[int, typer.Option(help="Show the Pod template of this revision.")] = 0,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """List the revisions that are kept."""
    named = _deployment(words)

    async def work(session: Session) -> None:
        target = named.within(session.namespace(namespace))
        _, revisions = await _revisions(session.client, target)
        if not revision:
            print(target)
            causes = {number: one.metadata.annotations.get(CHANGE_CAUSE, "<none>") for number, one in revisions.items()}
            print_rows(["REVISION", "CHANGE-CAUSE"], [[str(number), causes[number]] for number in sorted(causes)])
            return
        if revision not in revisions:
            raise UsageError(f"{target} has no revision {revision}; it has {', '.join(map(str, sorted(revisions)))}")
        print(f"{target} with revision #{revision}")
        print(text(template(revisions[revision].spec.template)), end="")

    with_session(kubeconfig, work)


@rollout.command()
def undo(
    words: options.Words,
    to_revision: Revision = 0,
    namespace: options.Namespace = "",
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Go back to an earlier revision."""
    named = _deployment(words)

    async def work(session: Session) -> None:
        target = named.within(session.namespace(namespace))
        deployment, revisions = await _revisions(session.client, target)
        if deployment.spec.paused:
            raise UsageError(f"{target} is paused; resume it first: navarch rollout resume {target}")
        current = _revision(deployment)
        number = to_revision or max((one for one in revisions if one < current), default=0)
        if number not in revisions:
            missing = f"revision {number}" if number else "revision before this one"
            raise UsageError(f"{target} has no {missing}; it has {', '.join(map(str, sorted(revisions)))}")
        earlier = appsv1.DeploymentSpec(template=revisions[number].spec.template).template
        earlier.metadata.labels.pop(TEMPLATE_HASH, None)
        wanted = codec.to_json(earlier)
        if wanted == codec.to_json(deployment.spec.template):
            print(f"{target} skipped rollback (current template already matches revision {number})")
            return
        patch = [{"op": "replace", "path": "/spec/template", "value": wanted}]
        await session.client.patch(appsv1.Deployment, target.name, target.namespace, patch, "json")
        print(f"{target} rolled back")

    with_session(kubeconfig, work)


@rollout.command()
def restart(words: options.Words, namespace: options.Namespace = "", kubeconfig: options.Kubeconfig = None) -> None:
    """Replace every Pod, as by a change of the template."""
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    template = {"metadata": {"annotations": {RESTARTED_AT: stamp}}}
    patch = {"spec": {"template": template}}

    def refuse(spec: appsv1.DeploymentSpec) -> str:
        return "is paused and cannot be restarted; resume it first" if spec.paused else ""

    _patch(words, namespace, kubeconfig, patch, "restarted", refuse)


@rollout.command()
def pause(words: options.Words, namespace: options.Namespace = "", kubeconfig: options.Kubeconfig = None) -> None:
    """Hold changes of the template back."""
    _patch(
        words,
        namespace,
        kubeconfig,
        {"spec": {"paused": True}},
        "paused",
        lambda spec: "is already paused" if spec.paused else "",
    )


@rollout.command()
def resume(words: options.Words, namespace: options.Namespace = "", kubeconfig: options.Kubeconfig = None) -> None:
    """Let held changes roll out."""
    _patch(
        words,
        namespace,
        kubeconfig,
        {"spec": {"paused": None}},
        "resumed",
        lambda spec: "" if spec.paused else "is not paused",
    )


def _patch(
    words: list[str],
    namespace: str,
    kubeconfig: Path | None,
    patch: dict[str, Any],
    done: str,
    refuse: Callable[[appsv1.DeploymentSpec], str],
) -> None:
    named = _deployment(words)

    async def work(session: Session) -> None:
        target = named.within(session.namespace(namespace))
        deployment = await session.client.get(appsv1.Deployment, target.name, target.namespace)
        if refusal := refuse(deployment.spec):
            raise UsageError(f"{target} {refusal}")
        await session.client.patch(appsv1.Deployment, target.name, target.namespace, patch)
        print(f"{target} {done}")

    with_session(kubeconfig, work)


def _deployment(words: list[str]) -> Target:
    target = targets.parse_one(words, default="deployment")
    if target.kind.kind != "Deployment":
        raise UsageError(f"{target}: rollouts of {target.kind.resource} are not served yet; of deployments they are")
    return target


async def _revisions(client: Client, target: Target) -> tuple[appsv1.Deployment, dict[int, appsv1.ReplicaSet]]:
    """The Deployment and its ReplicaSets by revision."""
    deployment = await client.get(appsv1.Deployment, target.name, target.namespace)
    listed = await client.list(appsv1.ReplicaSet, target.namespace)
    owned = {_revision(one): one for one in listed.items if is_controlled_by(one, deployment)}
    owned.pop(0, None)
    return deployment, owned


def _revision(found: appsv1.Deployment | appsv1.ReplicaSet) -> int:
    """The revision that the controller noted; 0 before it did."""
    number = found.metadata.annotations.get(REVISION, "")
    return int(number) if number.isdecimal() else 0
