"""What the executor answers, where that is more than the runtime's word."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.kubelet.core.draining import DRAIN_S
from navarch.services.kubelet.core.observed import EXITED, RUNNING, Container, PodRuntime
from navarch.services.kubelet.core.orders import Done, RunSandbox, StopContainer
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import NodeContext
from navarch.services.kubelet.core.view import View
from navarch.services.kubelet.executor import Executor
from navarch.services.kubelet.node.group_options import NO_GROUPS
from navarch.services.kubelet.pod_groups import PodGroups

from .conftest import a_pod


class Runtime:
    """Makes a sandbox while a relist is under way, which has looked before."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    async def run_sandbox(self, config: criv1.PodSandboxConfig, handler: str) -> str:
        self._watch.sequence += 1
        return "box"

    async def sandbox_status(self, id_: str) -> criv1.PodSandboxStatus:
        return criv1.PodSandboxStatus(id=id_, state=criv1.SANDBOX_READY)


async def no_handler(pod: Any) -> str:
    return ""


def an_executor(runtime: Any, watch: Any, services: list[corev1.Service], clock: Any = None) -> Executor:
    rest: Any = SimpleNamespace()
    return Executor(
        runtime=runtime,
        watch=watch,
        images=rest,
        volumes=rest,
        mounts=rest,
        objects=SimpleNamespace(services=lambda: services),  # type: ignore[arg-type]
        runtime_classes=SimpleNamespace(handler=no_handler),  # type: ignore[arg-type]
        equip=rest,
        statuses=rest,
        happenings=SimpleNamespace(tell=lambda *_: None),  # type: ignore[arg-type]
        clock=clock or rest,
        layout=Layout(rest),
        node=NodeContext("n1", ("192.0.2.1",), 4000, 8 << 30),
        groups=PodGroups(NO_GROUPS, list, list),
    )


async def test_what_was_made_during_a_relist_is_not_taken_for_lost() -> None:
    watch = SimpleNamespace(sequence=6)
    executor = an_executor(Runtime(watch), watch, [])
    executor._layout = SimpleNamespace(log_directory=lambda pod: "/logs")  # type: ignore[assignment]
    worker: Any = SimpleNamespace(view=SimpleNamespace(pod=a_pod(), name="web"))
    answer = await executor.carry_out(worker, RunSandbox(0))
    assert isinstance(answer, Done)
    seen = PodRuntime()
    for fact in answer.facts:
        seen.see(fact, answer.sequence)
    seen.relisted((), sequence=7, now=1.0)
    assert seen.ready_sandbox() is not None
    seen.relisted((), sequence=8, now=1.0)
    assert seen.ready_sandbox() is None


async def test_what_a_resolver_lacks_is_told_once_however_often_the_sandbox_is_made() -> None:
    watch = SimpleNamespace(sequence=6)
    executor = an_executor(Runtime(watch), watch, [])
    executor._layout = SimpleNamespace(log_directory=lambda pod: "/logs")  # type: ignore[assignment]
    told: list[tuple[str, str]] = []
    executor._happenings.tell = lambda pod, type_, reason, *_: told.append((pod.metadata.uid, reason))  # type: ignore[assignment]
    first, second = a_pod(), a_pod()
    second.metadata.uid = "another"
    for pod in (first, first, second, first):
        worker: Any = SimpleNamespace(view=SimpleNamespace(pod=pod, name="web"))
        await executor.carry_out(worker, RunSandbox(0))
    assert told == [(first.metadata.uid, "MissingClusterDNS"), ("another", "MissingClusterDNS")]


@pytest.mark.parametrize(("served", "expected_s"), [(True, DRAIN_S), (False, 0.0)], ids=["in a Service", "in none"])
async def test_a_served_pod_is_told_to_stop_when_the_proxies_know(served: bool, expected_s: float) -> None:
    clock = VirtualClock(1000.0)
    stopped: list[float] = []

    async def stop_container(id_: str, grace_s: int) -> None:
        stopped.append(clock.now() - 1000.0)

    async def inspect_container(id_: str, box: str) -> Container:
        return replace(run, state=EXITED)

    run = Container("main-0", "main", 0, "box", RUNNING, 1.0, 1.0)
    pod = a_pod()
    pod.metadata.deletion_timestamp.seconds = 1000
    pod.metadata.deletion_grace_period_seconds = 30
    pod.metadata.labels["app"] = "web"
    pod.status.conditions.add(type="Ready", status="True")
    service = corev1.Service(metadata={"namespace": "default"}, spec={"selector": {"app": "web" if served else "db"}})
    view = View(pod)
    view.runtime.see(run)
    runtime = SimpleNamespace(stop_container=stop_container)
    watch = SimpleNamespace(sequence=1, inspect_container=inspect_container)
    executor = an_executor(runtime, watch, [service], clock)
    order = StopContainer(run.id, "main", 1030.0, "")
    worker: Any = SimpleNamespace(view=view)
    answer = asyncio.ensure_future(executor.carry_out(worker, order))
    await settle()
    assert bool(stopped) is not served
    await clock.elapse(expected_s)
    assert isinstance(await answer, Done)
    assert stopped == [expected_s]
