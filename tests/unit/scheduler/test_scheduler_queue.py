"""Which Pod is tried when."""

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.scheduler.queue import Change, Place, QueuedPod, SchedulingQueue

FIT = "NodeResourcesFit"


def a_pod(name: str, priority: int = 0) -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = name, "default"
    pod.spec.priority = priority
    return pod


def a_queue() -> SchedulingQueue:
    return SchedulingQueue(lambda name, change: name == FIT and change in (Change.NODE_ADDED, Change.POD_REMOVED))


def popped(queue: SchedulingQueue, now: float) -> QueuedPod:
    queued = queue.pop(now)
    assert queued is not None
    return queued


def test_priority_then_age() -> None:
    queue = a_queue()
    for pod in (a_pod("first"), a_pod("second"), a_pod("urgent", priority=10)):
        queue.add(pod)
    assert [popped(queue, 0).pod.metadata.name for _ in range(3)] == ["urgent", "first", "second"]
    assert queue.pop(0) is None


@pytest.mark.parametrize(
    ("change", "wakes"),
    [(Change.NODE_ADDED, True), (Change.POD_REMOVED, True), (Change.NODE_UPDATED, False), (Change.POD_PLACED, False)],
)
def test_a_change_wakes_whom_it_may_help(change: Change, wakes: bool) -> None:
    queue = a_queue()
    queue.add(a_pod("web"))
    queue.park(popped(queue, 0), [FIT], "full", 0)
    queue.change(change, 100)
    assert (queue.pop(100) is not None) is wakes


def test_woken_within_its_backoff_it_waits_for_the_rest() -> None:
    queue = a_queue()
    queue.add(a_pod("web"))
    now = 0.0
    queued = popped(queue, now)
    for pause in (1, 2, 4, 8, 10, 10):
        queue.park(queued, [FIT], "full", now)
        queue.change(Change.NODE_ADDED, now)
        assert queue.pop(now + pause - 0.01) is None
        assert queue.next_due() == now + pause
        now += pause
        queued = popped(queue, now)


def test_a_binding_that_ends_does_not_touch_another_pod_of_the_same_name() -> None:
    queue = a_queue()
    queue.add(a_pod("web"))
    bound = popped(queue, 0)
    queue.remove("default/web")
    queue.add(a_pod("web"))
    queue.done(bound)
    queue.retry(bound, "no such Pod", 0)
    queue.park(bound, [FIT], "full", 0)
    (waiting,) = queue
    assert (waiting.place, waiting.attempts) == (Place.ACTIVE, 0)
    queue.done(popped(queue, 0))
    assert len(queue) == 0


def test_the_pods_own_change_activates_it() -> None:
    queue = a_queue()
    queue.add(a_pod("web"))
    queue.park(popped(queue, 0), [FIT], "full", 0)
    queue.add(a_pod("web"))
    assert queue.pop(0) is None, "nothing changed"
    queue.add(a_pod("web", priority=5))
    assert queue.pop(0) is not None


def test_parked_pods_are_flushed_after_five_minutes() -> None:
    queue = a_queue()
    queue.add(a_pod("web"))
    queue.park(popped(queue, 0), ["Other"], "no", 0)
    assert queue.pop(299) is None
    assert queue.pop(300) is not None


def test_removed_pods_do_not_come_back() -> None:
    queue = a_queue()
    queue.add(a_pod("web"))
    queued = popped(queue, 0)
    queue.remove("default/web")
    queue.park(queued, [FIT], "full", 0)
    queue.retry(queued, "again", 0)
    assert queue.pop(1000) is None
    assert len(queue) == 0
