"""The order in which Pods end when the node goes down."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dbus_fast import Message, MessageType, Variant

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError
from navarch.services.kubelet.core.orders import Evict
from navarch.services.kubelet.core.shutdown_plan import ShutdownPolicy, by_grace_periods, by_priorities
from navarch.services.kubelet.node import logind
from navarch.services.kubelet.node.logind import LOGIND_PATH, MANAGER
from navarch.services.kubelet.node.shutdown import Shutdown
from navarch.services.kubelet.pod_worker import PodWorker

MakePod = Callable[..., corev1.Pod]
CRITICAL = 2_000_000_000


@pytest.mark.parametrize(
    ("policy", "groups"),
    [
        (by_grace_periods(30, 10), [(0, 20.0), (CRITICAL, 10.0)]),
        (by_grace_periods(0, 0), []),
        (by_priorities("10000=5,0=20"), [(0, 20.0), (10000, 5.0)]),
    ],
)
def test_policies(policy: ShutdownPolicy, groups: list[tuple[int, float]]) -> None:
    assert list(policy.periods) == groups


def test_policies_that_make_no_sense() -> None:
    with pytest.raises(ThresholdError, match="must be <= shutdownGracePeriod 10s"):
        by_grace_periods(10, 20)
    with pytest.raises(ThresholdError, match="expected <priority>=<seconds>"):
        by_priorities("high=1")


@pytest.mark.parametrize(("priority", "group"), [(-5, 0), (0, 0), (99, 0), (100, 100), (5000, 100)])
def test_a_pod_belongs_to_the_group_at_or_below_its_priority(pod: MakePod, priority: int, group: int) -> None:
    groups = by_priorities("0=1,100=1").groups([pod(priority=priority)])
    assert [one.priority for one in groups] == [group]


class Worker:
    """A Pod that is gone once somebody says so."""

    def __init__(self, pod: corev1.Pod) -> None:
        self.uid = pod.metadata.uid
        self.view = SimpleNamespace(pod=pod, name=pod.metadata.name)
        self.machine = SimpleNamespace(runs_nothing=False)
        self.told: list[Evict] = []

    def tell(self, event: Any) -> None:
        self.told.append(event)


async def test_groups_end_one_after_the_other_each_within_its_time(pod: MakePod) -> None:
    clock = VirtualClock()
    usual, slow, vital = Worker(pod("usual")), Worker(pod("slow")), Worker(pod("vital", priority=CRITICAL))
    workers = cast(list[PodWorker], [vital, usual, slow])
    shutdown = Shutdown(by_grace_periods(30, 10), clock, lambda: workers, lambda: None)
    assert shutdown.refuse(pod()) is None
    task = asyncio.create_task(shutdown.begin())
    await settle()
    refused = shutdown.refuse(pod())
    assert refused is not None
    assert refused.reason == "NodeShutdown"
    assert shutdown.problem == "node is shutting down"
    assert [(one.reason, one.grace_s) for one in usual.told + slow.told] == [("Terminated", 20.0)] * 2
    usual.machine.runs_nothing = True
    shutdown.pod_changed()
    await settle()
    assert vital.told == []
    await clock.elapse(20)
    assert vital.told[0].grace_s == 10.0
    vital.machine.runs_nothing = True
    shutdown.pod_changed()
    await task
    shutdown.cancel()
    assert shutdown.refuse(pod()) is None


class Bus:
    """A system bus with a logind that grants too short a delay."""

    def __init__(self, lock: int) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.handler: Callable[[Message], None] = lambda _: None
        self.gone = asyncio.Event()
        self._lock = lock

    def add_message_handler(self, handler: Callable[[Message], None]) -> None:
        self.handler = handler

    async def wait_for_disconnect(self) -> None:
        await self.gone.wait()

    async def call(self, message: Message) -> Any:
        self.calls.append((message.member or "", message.body))
        body = [Variant("t", 5_000_000)] if message.member == "Get" else [0]
        fds = [os.dup(self._lock)] if message.member == "Inhibit" else []
        return SimpleNamespace(message_type=MessageType.METHOD_RETURN, body=body, unix_fds=fds)

    def announce(self, going_down: bool) -> None:
        body = [going_down]
        self.handler(
            Message(path=LOGIND_PATH, interface=MANAGER, member="PrepareForShutdown", signature="b", body=body)
        )


async def test_logind_waits_until_the_pods_have_ended(
    pod: MakePod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logind, "DELAY_CONFIG", tmp_path / "conf.d" / "99-kubelet.conf")
    read, write = os.pipe()
    worker, bus = Worker(pod()), Bus(write)
    workers = cast(list[PodWorker], [worker])
    shutdown = Shutdown(by_grace_periods(30, 10), VirtualClock(), lambda: workers, lambda: None)
    task = asyncio.create_task(logind.Logind(shutdown, VirtualClock())._listen(bus))
    await settle()
    os.close(write)
    assert [name for name, _ in bus.calls] == ["Get", "KillUnit", "AddMatch", "Inhibit"]
    assert logind.DELAY_CONFIG.read_text().endswith("InhibitDelayMaxSec=30\n")
    bus.announce(True)
    await settle()
    assert shutdown.under_way
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    worker.machine.runs_nothing = True
    shutdown.pod_changed()
    await settle()
    # The lock is given up: nobody has the other end open.
    assert os.read(read, 1) == b""
    os.close(read)
    bus.gone.set()
    await task
