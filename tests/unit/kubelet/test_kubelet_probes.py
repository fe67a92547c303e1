"""What probes tell, over time."""

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import VirtualClock
from navarch.services.kubelet.core.observed import RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import Probed
from navarch.services.kubelet.core.view import View
from navarch.services.kubelet.probes import TRIES, Prober
from navarch.services.kubelet.runtime import RuntimeFailure

from .conftest import a_pod

OK, WRONG = SimpleNamespace(exit_code=0, stdout=b"", stderr=b""), SimpleNamespace(exit_code=1, stdout=b"no", stderr=b"")
BROKEN = RuntimeFailure(grpc.StatusCode.UNAVAILABLE, "the runtime is away")


class Probing:
    """One Pod with one probe, whose answers are told."""

    def __init__(self, kind: str, answers: list[Any]) -> None:
        self.clock = VirtualClock(1000.0)
        self.answers = answers
        self.asked = 0
        self.verdicts: list[bool] = []
        self.events: list[tuple[str, str]] = []
        probe = {"exec": {"command": ["ask"]}, "periodSeconds": 10, "failureThreshold": 2}
        pod = a_pod(containers=[{"name": "main", "image": "app:1", f"{kind}Probe": probe}])
        self.view = View(pod)
        self.view.runtime.see(Sandbox("box", 0, True, 1000.0, ("192.0.2.1",)))
        self.view.runtime.see(Container("run", "main", 0, "box", RUNNING, 1000.0, 1000.0))
        runtime: Any = SimpleNamespace(exec_sync=self._exec)
        happenings: Any = SimpleNamespace(tell=self._tell)
        self.prober = Prober(runtime, self.clock, happenings, "192.0.2.2", self._take, lambda *_: None)

    async def _exec(self, *_: Any) -> Any:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _tell(self, pod: corev1.Pod, type_: str, reason: str, message: str, container: str) -> None:
        self.events.append((reason, message))

    def _take(self, probed: Probed) -> None:
        self.verdicts.append(probed.healthy)

    async def run(self, seconds: float) -> None:
        self.prober.sync(self.view)
        await self.clock.elapse(seconds)
        await self.prober.stop()


async def test_what_the_runtime_cannot_do_is_neither_success_nor_failure() -> None:
    probing = Probing("readiness", [OK, *[BROKEN] * 3 * TRIES, OK])
    await probing.run(45)
    assert probing.verdicts == [True]
    expected = f"Readiness probe errored and resulted in unknown state: {BROKEN}"
    assert probing.events == [("Unhealthy", expected)] * 3


async def test_a_runtime_that_fails_once_is_asked_again_at_once() -> None:
    probing = Probing("readiness", [BROKEN, OK])
    await probing.run(5)
    assert (probing.verdicts, probing.events, probing.asked) == ([True], [], 2)


@pytest.mark.parametrize("kind", ["liveness", "startup"])
async def test_a_run_that_is_ended_for_a_probe_is_not_probed_again(kind: str) -> None:
    probing = Probing(kind, [WRONG])
    await probing.run(100)
    assert probing.verdicts == [False]
    assert probing.events == [("Unhealthy", f"{kind.capitalize()} probe failed: no")] * 2


async def test_readiness_is_asked_for_as_long_as_it_runs() -> None:
    probing = Probing("readiness", [WRONG, WRONG, WRONG, OK])
    await probing.run(45)
    assert probing.verdicts == [False, True]


async def test_a_port_that_has_no_name_is_nobody_s_failure() -> None:
    probing = Probing("readiness", [OK])
    port = {"tcpSocket": {"port": "web"}}
    probing.view.pod.CopyFrom(a_pod(containers=[{"name": "main", "image": "app:1", "readinessProbe": port}]))
    await probing.run(5)
    assert probing.verdicts == []
    assert "couldn't find port: 'web'" in probing.events[0][1]
