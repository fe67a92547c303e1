"""What the executor answers, where that is more than the runtime's word."""

from types import SimpleNamespace
from typing import Any

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.kubelet.core.observed import PodRuntime
from navarch.services.kubelet.core.orders import Done, RunSandbox
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import NodeContext
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


async def test_what_was_made_during_a_relist_is_not_taken_for_lost() -> None:
    watch = SimpleNamespace(sequence=6)
    rest: Any = SimpleNamespace()
    executor = Executor(
        runtime=Runtime(watch),  # type: ignore[arg-type]
        watch=watch,  # type: ignore[arg-type]
        images=rest,
        volumes=rest,
        mounts=rest,
        objects=rest,
        runtime_classes=SimpleNamespace(handler=no_handler),  # type: ignore[arg-type]
        equip=rest,
        statuses=rest,
        happenings=SimpleNamespace(tell=lambda *_: None),  # type: ignore[arg-type]
        clock=rest,
        layout=Layout(rest),
        node=NodeContext("n1", ("192.0.2.1",), 4000, 8 << 30),
        groups=PodGroups(NO_GROUPS, list, list),
    )
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
