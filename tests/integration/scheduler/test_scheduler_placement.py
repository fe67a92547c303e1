"""Pods get nodes, or say why not and get one as soon as there is one."""

import asyncio
import time

import grpc
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import scheduler_pb2
from navarch.services.api import errors
from navarch.services.api.meta import condition_is, find_condition


async def test_a_pod_is_bound_and_says_so(cluster) -> None:
    await cluster.add_node("n1")
    await cluster.add_pod("web")
    assert await cluster.node_of("web") == "n1"
    assert condition_is((await cluster.pod("web")).status.conditions, "PodScheduled")

    async def is_told() -> bool:
        return bool(await cluster.events("web", "Scheduled"))

    await cluster.until(is_told)
    (event,) = await cluster.events("web", "Scheduled")
    assert event.message == "Successfully assigned default/web to n1"
    assert event.involved_object.uid == (await cluster.pod("web")).metadata.uid


async def test_a_pod_that_fits_nowhere_says_why_per_reason_and_is_retried_at_each_change(cluster) -> None:
    await cluster.add_pod("web", cpu="1500m")
    assert await cluster.refusal_of("web") == "no nodes available to schedule pods"
    await cluster.add_node("small", cpu="1")
    await cluster.add_node("tiny", cpu="500m")
    await cluster.add_node("closed", unschedulable=True)
    message = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    await cluster.refusal_of("web", message)
    condition = find_condition((await cluster.pod("web")).status.conditions, "PodScheduled")
    assert condition.last_transition_time.seconds > 0

    async def is_told() -> bool:
        return any(event.message == message for event in await cluster.events("web", "FailedScheduling"))

    await cluster.until(is_told)
    await cluster.client.patch(corev1.Node, "closed", "", {"spec": {"unschedulable": False}})
    assert await cluster.node_of("web") == "closed"
    assert condition_is((await cluster.pod("web")).status.conditions, "PodScheduled")


@pytest.mark.parametrize("end", ["deleted", "finished"])
async def test_room_that_another_pod_leaves_is_used(cluster, end: str) -> None:
    await cluster.add_node("n1", cpu="1")
    await cluster.add_pod("first", cpu="800m")
    await cluster.node_of("first")
    await cluster.add_pod("second", cpu="800m")
    assert "1 Insufficient cpu" in await cluster.refusal_of("second")
    if end == "deleted":
        await cluster.delete("first")
    else:
        first = await cluster.pod("first")
        first.status.phase = "Succeeded"
        await cluster.client.update_status(first)
    assert await cluster.node_of("second") == "n1"


async def test_a_gated_pod_waits_until_its_gates_are_gone(cluster) -> None:
    await cluster.add_node("n1")
    await cluster.add_pod("gated", gates=("example.com/quota",))
    await cluster.add_pod("free")
    await cluster.node_of("free")
    assert not (await cluster.pod("gated")).spec.node_name
    assert len(cluster.scheduler.scheduling.queue) == 0
    await cluster.client.patch(corev1.Pod, "gated", "default", {"spec": {"schedulingGates": []}}, "merge")
    assert await cluster.node_of("gated") == "n1"


async def test_pods_of_other_schedulers_are_left_alone_and_still_count(cluster) -> None:
    await cluster.add_node("n1", cpu="1")
    await cluster.add_pod("theirs", cpu="800m", scheduler="other")
    await cluster.add_pod("ours")
    await cluster.node_of("ours")
    assert not (await cluster.pod("theirs")).spec.node_name
    await cluster.client.bind("default", "theirs", "n1")
    await cluster.add_pod("late", cpu="800m")
    assert "1 Insufficient cpu" in await cluster.refusal_of("late")


async def test_a_pod_recreated_under_its_name_again_and_again_is_bound_in_the_end(cluster) -> None:
    await cluster.add_node("n1", pods=3)
    for _ in range(30):
        await cluster.add_pod("web")
        await cluster.delete("web")
    last = await cluster.add_pod("web")
    assert await cluster.node_of("web") == "n1"
    assert (await cluster.pod("web")).metadata.uid == last.metadata.uid
    for name in ("b", "c"):
        await cluster.add_pod(name)
        assert await cluster.node_of(name) == "n1"
    await cluster.add_pod("d")
    assert "1 Too many pods" in await cluster.refusal_of("d")


async def test_of_two_who_bind_one_pod_one_is_refused_and_nothing_is_counted_twice(cluster) -> None:
    await cluster.add_node("n1", pods=40)
    other = await cluster.start_scheduler("other")
    for number in range(40):
        await cluster.add_pod(f"web-{number}")
    await asyncio.gather(*(cluster.node_of(f"web-{number}") for number in range(40)))
    for scheduler in (cluster.scheduler, other):
        scheduling = scheduler.scheduling

        async def has_settled(scheduling=scheduling) -> bool:
            keys = [f"default/web-{number}" for number in range(40)]
            return len(scheduling.queue) == 0 and not any(map(scheduling.cluster.is_assumed, keys))

        await cluster.until(has_settled)
        assert len(scheduling.cluster.node("n1").pods) == 40


async def test_a_scheduler_that_is_replaced_in_the_middle_leaves_nothing_undone(cluster) -> None:
    for name in ("n1", "n2"):
        await cluster.add_node(name, cpu="100")
    for number in range(120):
        await cluster.add_pod(f"web-{number}", cpu="1")
        if number in (40, 80):
            await cluster.scheduler.stop()
            cluster.scheduler = await cluster.start_scheduler()
    nodes = await asyncio.gather(*(cluster.node_of(f"web-{number}") for number in range(120)))
    assert {nodes.count("n1") + nodes.count("n2")} == {120}
    assert max(nodes.count("n1"), nodes.count("n2")) <= 100


async def test_what_happened_while_another_led_is_not_remembered_wrongly(cluster) -> None:
    await cluster.add_node("n1", cpu="1")
    scheduler = cluster.scheduler
    await cluster.add_pod("gone", cpu="800m")
    await cluster.node_of("gone")
    await cluster.add_pod("waits", cpu="800m")
    await cluster.refusal_of("waits")
    # The Lease is lost and comes back; meanwhile both Pods went away.
    await scheduler._end()
    await cluster.delete("gone")
    await cluster.delete("waits")
    await scheduler._begin()
    await cluster.add_pod("next", cpu="800m")
    assert await cluster.node_of("next") == "n1"
    assert len(scheduler.scheduling.queue) == 0


async def test_only_the_leader_answers_and_the_next_one_takes_over(cluster) -> None:
    await cluster.scheduler.stop()
    first = await cluster.start_scheduler("first", elect=True)

    async def first_leads() -> bool:
        return first.scheduling is not None

    await cluster.until(first_leads)
    second = await cluster.start_scheduler("second", elect=True)
    with pytest.raises(grpc.aio.AioRpcError, match="does not lead"):
        await cluster.ask(second).Queue(scheduler_pb2.QueueRequest(), timeout=30)
    await cluster.add_node("n1")
    await first.stop()
    await cluster.add_pod("web")
    assert await cluster.node_of("web") == "n1"
    assert second.scheduling is not None


async def test_explain_what_if_and_queue(cluster) -> None:
    ask = cluster.ask(cluster.scheduler)
    await cluster.add_node("n1", cpu="1")
    await cluster.add_node("n2", cpu="100m")
    await cluster.add_pod("web", cpu="800m")
    await cluster.node_of("web")

    async def is_confirmed() -> bool:
        return not cluster.scheduler.scheduling.cluster.is_assumed("default/web")

    await cluster.until(is_confirmed)
    explained = await ask.Explain(scheduler_pb2.ExplainRequest(namespace="default", name="web"), timeout=30)
    assert explained.node == "n1", "its own requests do not stand in its way"
    assert {(one.node, one.filter, one.reason) for one in explained.nodes} == {
        ("n1", "", ""),
        ("n2", "NodeResourcesFit", "Insufficient cpu"),
    }
    again = await cluster.add_pod("again", cpu="800m")
    await cluster.refusal_of("again")
    supposed = await ask.WhatIf(scheduler_pb2.WhatIfRequest(pod=again), timeout=30)
    assert (supposed.node, supposed.message) == ("", "0/2 nodes are available: 2 Insufficient cpu.")
    (queued,) = (await ask.Queue(scheduler_pb2.QueueRequest(), timeout=30)).pods
    assert (queued.namespace, queued.name, queued.queue) == ("default", "again", "unschedulable")
    assert queued.attempts >= 1
    assert queued.message == supposed.message
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await ask.Explain(scheduler_pb2.ExplainRequest(namespace="default", name="none"), timeout=30)
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_pod_that_is_being_deleted_is_not_tried_any_more(cluster) -> None:
    waits = await cluster.add_pod("web")
    await cluster.refusal_of("web")
    waits = await cluster.pod("web")
    waits.metadata.finalizers.append("example.com/keep")
    await cluster.client.update(waits)
    await cluster.delete("web")

    async def is_out() -> bool:
        return len(cluster.scheduler.scheduling.queue) == 0

    await cluster.until(is_out)
    await cluster.client.patch(corev1.Pod, "web", "default", {"metadata": {"finalizers": []}}, "merge")
    with pytest.raises(errors.NotFound):
        await cluster.pod("web")


async def test_500_pods_over_50_nodes(cluster, capsys) -> None:
    for number in range(50):
        await cluster.add_node(f"n{number}", cpu="1")
    scheduling = cluster.scheduler.scheduling
    keys = [f"default/web-{number}" for number in range(500)]

    async def all_bound() -> bool:
        bound = sum(len(node.pods) for node in scheduling.cluster.nodes())
        return bound == 500 and not any(map(scheduling.cluster.is_assumed, keys))

    begin = time.perf_counter()
    for start in range(0, 500, 50):
        await asyncio.gather(*(cluster.add_pod(f"web-{number}", cpu="100m") for number in range(start, start + 50)))
    await cluster.until(all_bound)
    took = time.perf_counter() - begin
    with capsys.disabled():
        print(f"\n500 Pods over 50 nodes, from the first creation: {500 / took:.0f} Pods/s", end=" ")
    pods = (await cluster.client.list(corev1.Pod, "default")).items
    load = [sum(pod.spec.node_name == f"n{number}" for pod in pods) for number in range(50)]
    assert load == [10] * 50
