"""What happens to a Pod between being tried and the answer to its binding."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2
from navarch.services.api.errors import ApiError, Conflict, NotFound, ServiceUnavailable
from navarch.services.base.clock import VirtualClock
from navarch.services.scheduler.cycle import Cycle
from navarch.services.scheduler.scheduling import Attempt, Scheduling


class Api:
    """The client's `batch` and the recorder's `event`, with answers chosen by the test."""

    def __init__(self) -> None:
        self.answer: ApiError | None = None
        self.written: list[objects_pb2.Mutation] = []

    async def batch(self, mutations: Sequence[objects_pb2.Mutation]) -> list[object]:
        self.written += mutations
        return [self.answer or corev1.Pod() for _ in mutations]

    def event(self, *report: object) -> None:
        """Heard."""


def a_node(name: str = "n1", pods: int = 1) -> corev1.Node:
    node = corev1.Node()
    node.metadata.name = name
    node.status.allocatable["pods"].string = str(pods)
    return node


def a_pod(name: str = "web", uid: str = "1", node: str = "") -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = name, "default", uid
    pod.spec.node_name = node
    pod.spec.containers.add(name="main")
    return pod


class World:
    def __init__(self) -> None:
        self.api = Api()
        self.clock = VirtualClock(0.0)
        self.scheduling = Scheduling(self.api, self.api, self.clock, Cycle(Random(1)), "default-scheduler")
        self.sees_node = self.scheduling._on_node
        self.sees_pod = self.scheduling._on_pod

    def tries(self) -> list[Attempt]:
        return self.scheduling._try_batch()

    async def answers(self, attempts: list[Attempt], answer: ApiError | None) -> None:
        self.api.answer = answer
        await self.scheduling._writes.acquire()
        await self.scheduling._write(attempts)

    def placed(self) -> dict[str, str]:
        return {info.pod.metadata.uid: node.name for node, info in self.scheduling.cluster.pods()}


ANSWERS = [
    pytest.param(None, id="bound"),
    pytest.param(NotFound("pods", "web"), id="not found"),
    pytest.param(Conflict("pods", "web", "the uid differs"), id="conflict"),
    pytest.param(ServiceUnavailable("away"), id="unknown"),
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("tried", [False, True], ids=["waits", "is assumed"])
async def test_an_answer_for_a_pod_does_not_touch_another_of_its_name(answer: ApiError | None, tried: bool) -> None:
    world = World()
    world.sees_node(None, a_node(pods=2))
    first, second = a_pod(uid="1"), a_pod(uid="2")
    world.sees_pod(None, first)
    attempts = world.tries()
    world.sees_pod(first, None)
    world.sees_pod(None, second)
    later = world.tries() if tried else []
    await world.answers(attempts, answer)
    later += world.tries()
    assert [one.info.pod.metadata.uid for one in later] == ["2"]
    assert world.placed() == {"2": "n1"}
    await world.answers(later, None)
    assert len(world.scheduling.queue) == 0
    assert world.placed() == {"2": "n1"}, "assumed until the watch confirms it"


@pytest.mark.parametrize("answer", ANSWERS[1:])
async def test_a_failed_binding_gives_its_room_to_those_who_wait(answer: ApiError) -> None:
    world = World()
    world.sees_node(None, a_node())
    world.sees_pod(None, a_pod("web", "1"))
    attempts = world.tries()
    world.sees_pod(None, a_pod("waits", "2"))
    (refused,) = world.tries()
    assert "Too many pods" in refused.message
    await world.answers(attempts, answer)
    world.clock.advance(1.0)
    assert {one.info.key for one in world.tries()} == {"default/web", "default/waits"}


@pytest.mark.parametrize("confirmed", [False, True])
async def test_an_assumed_pod_that_is_deleted_gives_its_room_back(confirmed: bool) -> None:
    world = World()
    world.sees_node(None, a_node())
    pod = a_pod("web", "1")
    world.sees_pod(None, pod)
    attempts = world.tries()
    if confirmed:
        await world.answers(attempts, None)
    world.sees_pod(None, a_pod("waits", "2"))
    world.tries()
    world.sees_pod(pod, None)
    world.clock.advance(1.0)
    assert [one.info.key for one in world.tries()] == ["default/waits"]


async def test_a_binding_whose_answer_was_lost_is_confirmed_by_the_watch() -> None:
    world = World()
    world.sees_node(None, a_node())
    pod = a_pod()
    world.sees_pod(None, pod)
    attempts = world.tries()
    world.sees_pod(pod, a_pod(node="n1"))
    await world.answers(attempts, ServiceUnavailable("away"))
    assert world.placed() == {"1": "n1"}
    assert len(world.scheduling.queue) == 0


@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
async def test_a_node_that_goes_and_comes_back_still_holds_its_assumed_pods(when: str) -> None:
    world = World()
    node, pod = a_node(), a_pod()
    world.sees_node(None, node)
    world.sees_pod(None, pod)
    attempts = world.tries()
    if when == "after the answer":
        await world.answers(attempts, None)
    world.sees_node(node, None)
    assert world.placed() == {}
    world.sees_node(None, node)
    assert world.placed() == {"1": "n1"}
    if when == "before the answer":
        await world.answers(attempts, NotFound("pods", "web"))
        assert world.placed() == {}


@pytest.mark.parametrize(
    "change", [lambda pod: pod.metadata.deletion_timestamp.SetInParent(), lambda pod: pod.status.ParseFromString(b"")]
)
async def test_a_late_change_of_an_assumed_pod_does_not_queue_it_again(change: Callable[[corev1.Pod], None]) -> None:
    world = World()
    world.sees_node(None, a_node())
    pod, changed = a_pod(), a_pod()
    change(changed)
    world.sees_pod(None, pod)
    attempts = world.tries()
    world.sees_pod(pod, changed)
    assert world.tries() == []
    await world.answers(attempts, None)
    world.sees_pod(pod, changed)
    assert world.tries() == []
    assert len(world.scheduling.queue) == 0


async def test_many_pods_that_fit_nowhere_do_not_hold_up_the_loop() -> None:
    world = World()
    for number in range(1000):
        world.sees_pod(None, a_pod(f"web-{number}", str(number)))
    assert 0 < len(world.tries()) <= 100
    scheduling = asyncio.create_task(world.scheduling._run())
    turns = 0
    while len(world.api.written) < 900:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
    scheduling.cancel()
    await asyncio.wait([scheduling])
