"""Containers get other resources while they run."""

from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.kubelet_lab import Lab

# cgroup v1, then v2.
MEMORY = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max"
CPU = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
MIB = 1 << 20


def sized(cpu: str, memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


async def resize(lab: Lab, name: str, cpu: str, memory: str) -> None:
    body = {"spec": {"containers": [{"name": "main", "resources": sized(cpu, memory)}]}}
    await lab.client.patch(corev1.Pod, name, lab.namespace, body, subresource="resize")


def resizing(pod: corev1.Pod) -> dict[str, tuple[str, str]]:
    found = {one.type: (one.reason, one.message) for one in pod.status.conditions}
    return {name: told for name, told in found.items() if name.startswith("PodResize")}


def has(pod: corev1.Pod, cpu: str, memory: str) -> bool:
    """Whether it has these limits and nothing is left to do."""
    (status,) = pod.status.container_statuses
    limits = status.resources.limits
    allocated = status.allocated_resources
    told = (limits["cpu"].string, limits["memory"].string, allocated["cpu"].string, allocated["memory"].string)
    return not resizing(pod) and status.state.HasField("running") and told == (cpu, memory, cpu, memory)


async def limits(lab: Lab, name: str) -> tuple[int, int]:
    """Microseconds of CPU in 100 ms, and bytes, as the kernel has them."""
    told = await lab.exec(name, "sh", "-c", f"({CPU}; {MEMORY}) 2>/dev/null")
    quota, memory = told.split()
    return int(quota), int(memory)


async def test_a_running_container_gets_other_resources(lab: Lab) -> None:
    await lab.create(
        "grows", containers=[{"name": "main", "command": ["sleep", "3600"], "resources": sized("100m", "32Mi")}]
    )
    before = await lab.running("grows")
    assert await limits(lab, "grows") == (10_000, 32 * MIB)
    for cpu, memory, kernel in (
        ("200m", "64Mi", (20_000, 64 * MIB)),
        ("50m", "128Mi", (5_000, 128 * MIB)),
        ("100m", "32Mi", (10_000, 32 * MIB)),
    ):
        await resize(lab, "grows", cpu, memory)
        pod = await lab.when("grows", lambda pod, cpu=cpu, memory=memory: has(pod, cpu, memory))
        assert await limits(lab, "grows") == kernel
    (status,), (first,) = pod.status.container_statuses, before.status.container_statuses
    assert (status.restart_count, status.container_id) == (0, first.container_id)
    assert '"generation":2' in await lab.event("grows", "ResizeCompleted")


async def test_a_container_that_wants_it_is_restarted_for_its_resources(lab: Lab) -> None:
    await lab.create(
        "restarts",
        containers=[
            {
                "name": "main",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"],
                "resources": sized("100m", "32Mi"),
                "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
            }
        ],
        restartPolicy="OnFailure",
    )
    await lab.running("restarts")
    await resize(lab, "restarts", "200m", "32Mi")
    pod = await lab.when("restarts", lambda pod: has(pod, "200m", "32Mi"))
    assert pod.status.container_statuses[0].restart_count == 0
    await resize(lab, "restarts", "200m", "64Mi")
    pod = await lab.when("restarts", lambda pod: has(pod, "200m", "64Mi"))
    assert pod.status.container_statuses[0].restart_count == 1
    assert await limits(lab, "restarts") == (20_000, 64 * MIB)


async def test_what_the_node_cannot_give_waits_or_is_refused(lab: Lab) -> None:
    node = await lab.client.get(corev1.Node, lab.node)
    cpus = int(node.status.allocatable["cpu"].string)
    main = {"name": "main", "command": ["sleep", "3600"]}
    await lab.create("big", containers=[{**main, "resources": sized(f"{cpus * 1000 - 900}m", "32Mi")}])
    await lab.create("small", containers=[{**main, "resources": sized("100m", "32Mi")}])
    await lab.running("big")
    await lab.running("small")
    await resize(lab, "small", f"{cpus + 1}", "32Mi")
    pod = await lab.when("small", resizing)
    assert resizing(pod)["PodResizePending"][0] == "Infeasible"
    await resize(lab, "small", f"{cpus * 1000 - 200}m", "32Mi")
    pod = await lab.when("small", lambda pod: resizing(pod).get("PodResizePending", ("",))[0] == "Deferred")
    assert "Node didn't have enough resource: cpu" in resizing(pod)["PodResizePending"][1]
    assert pod.status.container_statuses[0].resources.limits["cpu"].string == "100m"
    await lab.delete("big")
    await lab.when("small", lambda pod: has(pod, f"{cpus * 1000 - 200}m", "32Mi"))


async def test_memory_in_use_is_not_taken_away(lab: Lab) -> None:
    # A file in memory counts as the container's.
    main = {"name": "main", "command": ["sh", "-c", "head -c 40000000 /dev/zero > /dev/shm/held; sleep 3600"]}
    await lab.create("holds", containers=[{**main, "resources": sized("100m", "128Mi")}])
    await lab.running("holds")
    await lab.eventually(lambda: _holds(lab))
    await resize(lab, "holds", "100m", "16Mi")
    pod = await lab.when("holds", lambda pod: resizing(pod).get("PodResizeInProgress", ("",))[0] == "Error")
    assert "below current usage" in resizing(pod)["PodResizeInProgress"][1]
    assert (await limits(lab, "holds"))[1] == 128 * MIB
    await lab.exec("holds", "rm", "/dev/shm/held")
    await lab.when("holds", lambda pod: has(pod, "100m", "16Mi"))


async def _holds(lab: Lab) -> bool:
    return "40000000" in await lab.exec("holds", "stat", "-c", "%s", "/dev/shm/held")


async def test_a_kubelet_that_was_killed_knows_what_was_granted(lab: Lab) -> None:
    await lab.create(
        "kept", containers=[{"name": "main", "command": ["sleep", "3600"], "resources": sized("100m", "32Mi")}]
    )
    await lab.running("kept")
    await resize(lab, "kept", "64", "32Mi")
    await lab.when("kept", resizing)
    lab.kill_kubelet()
    await resize(lab, "kept", "200m", "64Mi")
    await lab.start_kubelet()
    await lab.when("kept", lambda pod: has(pod, "200m", "64Mi"))
    assert await limits(lab, "kept") == (20_000, 64 * MIB)


async def test_a_resize_that_is_asked_for_while_the_node_reboots(lab: Lab) -> None:
    await lab.create(
        "rebooted", containers=[{"name": "main", "command": ["sleep", "3600"], "resources": sized("100m", "32Mi")}]
    )
    before = await lab.running("rebooted")
    lab.kill_kubelet()
    # What a reboot leaves: nothing runs, and the runtime knows what did.
    for box in await lab.cri.list_sandboxes():
        if box.metadata.uid == before.metadata.uid:
            await lab.cri.stop_sandbox(box.id)
    await resize(lab, "rebooted", "200m", "64Mi")
    await lab.start_kubelet()
    pod = await lab.when(
        "rebooted", lambda pod: has(pod, "200m", "64Mi") and pod.status.container_statuses[0].restart_count == 1
    )
    assert pod.status.container_statuses[0].container_id != before.status.container_statuses[0].container_id
    assert await limits(lab, "rebooted") == (20_000, 64 * MIB)
