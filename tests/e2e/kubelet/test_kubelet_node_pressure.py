"""What a node does that runs short, or goes down. Each test restarts the kubelet with options, and then without."""

import contextlib
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1

MIB = 1 << 20
CRITICAL = {"priorityClassName": "system-node-critical"}


@contextlib.asynccontextmanager
async def options(lab: Any, *flags: str) -> AsyncIterator[None]:
    """The kubelet with these options; without them afterwards."""
    lab.kill_kubelet()
    await lab.start_kubelet("--housekeeping-interval=500ms", "--eviction-pressure-transition-period=1s", *flags)
    try:
        yield
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()
        await lab.until(corev1.Node, lab.node, is_calm, "")


def condition(node: corev1.Node, type_: str) -> corev1.NodeCondition:
    return next(one for one in node.status.conditions if one.type == type_)


def is_calm(node: corev1.Node) -> bool:
    return {one.type for one in node.status.conditions if one.status == "True"} == {"Ready"}


def has(type_: str) -> Any:
    return lambda node: condition(node, type_).status == "True"


def was_evicted(pod: corev1.Pod) -> bool:
    return (pod.status.phase, pod.status.reason) == ("Failed", "Evicted")


async def node_events(lab: Any) -> list[str]:
    found = await lab.client.list(corev1.Event, "default")
    return [one.reason for one in found.items if one.involved_object.name == lab.node]


async def test_the_pod_that_takes_most_memory_above_its_request_goes_first(lab: Any) -> None:
    node = await lab.client.get(corev1.Node, lab.node)
    total = int(node.status.capacity["memory"].string.removesuffix("Ki")) * 1024
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count={} 2>/dev/null; sleep 3600"

    def container(mib: int) -> list[dict[str, Any]]:
        resources = {"requests": {"memory": "1Mi"}}
        return [{"name": "main", "command": ["sh", "-c", fill.format(mib)], "resources": resources}]

    async with options(lab, f"--system-reserved=memory={total - 220 * MIB}", "--eviction-hard=memory.available<100Mi"):
        await lab.create("small", containers=container(5))
        await lab.running("small")
        volumes = [{"name": "ram", "emptyDir": {"medium": "Memory"}}]
        hog = container(160)
        hog[0]["volumeMounts"] = [{"name": "ram", "mountPath": "/dev/shm"}]
        await lab.create("hog", containers=hog, volumes=volumes)
        pod = await lab.when("hog", was_evicted)
        assert pod.status.message.startswith(
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: "
        )
        assert "Container main was using " in pod.status.message
        assert ", request is 1Mi, has larger consumption of memory. " in pod.status.message
        target = next(one for one in pod.status.conditions if one.type == "DisruptionTarget")
        assert (target.status, target.reason) == ("True", "TerminationByKubelet")
        assert target.message == pod.status.message
        assert await lab.event("hog", "Evicted") == pod.status.message
        assert (await lab.pod("small")).status.phase == "Running"
        await lab.until(corev1.Node, lab.node, is_calm, "")
        reasons = await node_events(lab)
        assert {"EvictionThresholdMet", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"} <= set(reasons)


async def test_a_node_short_of_processes_evicts_all_but_critical_pods_and_lets_no_others_in(lab: Any) -> None:
    await lab.create("bystander")
    await lab.create("vital", **CRITICAL)
    await lab.running("bystander")
    await lab.running("vital")
    async with options(lab, "--eviction-hard=pid.available<99.99%"):
        pod = await lab.when("bystander", was_evicted)
        assert pod.status.message.startswith("The node was low on resource: pids. Threshold quantity: ")
        node = await lab.until(corev1.Node, lab.node, has("PIDPressure"), "")
        found = condition(node, "PIDPressure")
        assert (found.reason, found.message) == ("KubeletHasInsufficientPID", "kubelet has insufficient PID available")
        await lab.create("late", tolerations=[{"operator": "Exists"}])
        late = await lab.when("late", was_evicted)
        assert late.status.message == "Pod was rejected: The node had condition: [PIDPressure]. "
        await lab.create("also-vital", **CRITICAL)
        await lab.running("also-vital")
        assert (await lab.pod("vital")).status.phase == "Running"


async def test_a_soft_threshold_evicts_after_its_grace_period_with_a_grace_of_its_own_for_pods(lab: Any) -> None:
    deaf = {"name": "main", "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    await lab.create("deaf", containers=[deaf], terminationGracePeriodSeconds=3600)
    await lab.running("deaf")
    flags = (
        "--eviction-soft=pid.available<99.99%",
        "--eviction-soft-grace-period=pid.available=4s",
        "--eviction-max-pod-grace-period=1",
    )
    began = time.monotonic()
    async with options(lab, *flags):
        # The node tells of it before it acts.
        await lab.until(corev1.Node, lab.node, has("PIDPressure"), "")
        pod = await lab.when("deaf", was_evicted)
        assert time.monotonic() - began >= 4.0
        assert pod.status.message.startswith("The node was low on resource: pids. Threshold quantity: ")
        # Not in the hour that it asks for.
        (status,) = pod.status.container_statuses
        assert status.state.terminated.exit_code == 137


async def test_pods_over_their_own_limits_on_files_are_evicted(lab: Any) -> None:
    def filler(path: str, **more: Any) -> dict[str, Any]:
        command = ["sh", "-c", f"dd if=/dev/zero of={path} bs=1M count=4; sleep 3600"]
        return {"name": "main", "command": command, **more}

    async with options(lab):
        mounts = [{"name": "scratch", "mountPath": "/scratch"}]
        volumes = [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}]
        await lab.create("volume", containers=[filler("/scratch/x", volumeMounts=mounts)], volumes=volumes)
        limits = {"limits": {"ephemeral-storage": "2Mi"}}
        mounts = [{"name": "scratch", "mountPath": "/scratch"}]
        volumes = [{"name": "scratch", "emptyDir": {}}]
        await lab.create(
            "pod", containers=[filler("/scratch/x", volumeMounts=mounts, resources=limits)], volumes=volumes
        )
        volume = await lab.when("volume", was_evicted)
        assert volume.status.message == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
        pod = await lab.when("pod", was_evicted)
        assert pod.status.message == "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "


async def test_a_node_that_goes_down_ends_its_pods_in_order_and_takes_no_more(lab: Any) -> None:
    goodbye = "trap 'read up _ < /proc/uptime; echo $up; exit 0' TERM; while :; do sleep 0.1; done"
    said = {"command": ["sh", "-c", goodbye]}
    flags = ("--shutdown-grace-period=20s", "--shutdown-grace-period-critical-pods=10s")
    async with options(lab, *flags):
        await lab.create("vital", containers=[{"name": "main", **said}], terminationGracePeriodSeconds=9, **CRITICAL)
        await lab.create("usual", containers=[{"name": "main", **said}], terminationGracePeriodSeconds=9)
        await lab.running("vital")
        await lab.running("usual")
        lab.host.kubelets[lab.runtime].send_signal(signal.SIGPWR)
        usual, vital = await lab.ended("usual"), await lab.ended("vital")
        for pod in (usual, vital):
            assert (pod.status.phase, pod.status.reason) == ("Failed", "Terminated")
            assert pod.status.message == "Pod was terminated in response to imminent node shutdown."
        ends = [(await lab.logs(name)).strip() for name in ("usual", "vital")]
        assert float(ends[0]) < float(ends[1])
        node = await lab.until(corev1.Node, lab.node, lambda node: condition(node, "Ready").status == "False", "")
        assert condition(node, "Ready").message == "node is shutting down"
        await lab.create("late", tolerations=[{"operator": "Exists"}])
        late = await lab.ended("late")
        assert late.status.reason == "NodeShutdown"
        assert late.status.message == "Pod was rejected: Pod was rejected as the node is shutting down."
