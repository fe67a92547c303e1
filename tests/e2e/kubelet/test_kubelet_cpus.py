"""Containers with CPUs of their own, on real ones: the policy `static` of the CPU manager."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.kubelet import podresources_pb2 as resources
from navarch.protos.kubelet import podresources_pb2_grpc
from navarch.services.kubelet.core.cpu_checkpoint import FILE
from navarch.services.kubelet.core.cpu_lists import read_cpus
from navarch.services.kubelet.node.host import read_topology
from navarch.testing.kubelet_lab import Lab

STATIC = ("--cpu-manager-policy=static", "--reserved-cpus=0")
ALL = read_topology().all
STAYS = {"name": "main", "command": ["sh", "-c", "trap 'exit 1' TERM; while :; do sleep 0.1; done"]}


@contextlib.asynccontextmanager
async def static_policy(lab: Lab) -> AsyncIterator[None]:
    """The node with this policy, as one changes it: with nothing of the one before."""
    state = lab.host.root_dir(lab.node) / FILE
    for flags in (STATIC, ()):
        lab.kill_kubelet()
        state.unlink(missing_ok=True)
        await lab.start_kubelet(*flags)
        if flags:
            try:
                yield
            except BaseException:
                lab.kill_kubelet()
                state.unlink(missing_ok=True)
                raise


async def allowed(lab: Lab, name: str) -> frozenset[int]:
    """Where the first process of a Pod's container may run, as the kernel tells it."""
    line = await lab.exec(name, "grep", "Cpus_allowed_list", "/proc/1/status")
    return read_cpus(line.split()[1])


async def told(lab: Lab, name: str) -> tuple[set[int], set[int]]:
    """What monitors are told: the CPUs that a Pod has of its own, and those that can be had."""
    socket = lab.host.root_dir(lab.node) / "pod-resources" / "kubelet.sock"
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stub = podresources_pb2_grpc.PodResourcesListerStub(channel)
        request = resources.GetPodResourcesRequest(pod_name=name, pod_namespace=lab.namespace)
        answer = await stub.Get(request, wait_for_ready=True, timeout=30)
        free = await stub.GetAllocatableResources(resources.AllocatableResourcesRequest(), timeout=30)
    return set(answer.pod_resources.containers[0].cpu_ids), set(free.cpu_ids)


async def on(lab: Lab, name: str, cpus: frozenset[int]) -> None:
    async def moved() -> bool:
        return await allowed(lab, name) == cpus

    await lab.eventually(moved, f"{name} runs on {sorted(cpus)}")


def owning(cpus: str) -> list[dict[str, Any]]:
    sizes = {"cpu": cpus, "memory": "32Mi"}
    return [{**STAYS, "resources": {"requests": sizes, "limits": sizes}}]


async def test_a_container_has_cpus_that_the_others_leave(lab: Lab) -> None:
    assert len(ALL) > 1, "this host has one CPU, and none to give away: the test needs another"
    async with static_policy(lab):
        await lab.create("shares", containers=[STAYS])
        await lab.running("shares")
        assert await allowed(lab, "shares") == ALL

        made = await lab.create("owner", containers=owning("1"), restartPolicy="OnFailure")
        pod = await lab.running("owner")
        own = await allowed(lab, "owner")
        assert len(own) == 1
        assert 0 not in own
        # They were moved before it started.
        assert await allowed(lab, "shares") == ALL - own
        assert await told(lab, "owner") == (own, ALL - {0})
        assert (await told(lab, "shares"))[0] == set()
        await lab.create("late", containers=[STAYS])
        await lab.running("late")
        assert await allowed(lab, "late") == ALL - own

        lab.kill_kubelet()
        state = json.loads((lab.host.root_dir(lab.node) / FILE).read_text())
        assert state["policyName"] == "static"
        assert read_cpus(state["entries"][made.metadata.uid]["main"]) == own
        await lab.start_kubelet(*STATIC)
        container_id = pod.status.container_statuses[0].container_id.rpartition("/")[2]
        await lab.cri.stop_container(container_id, 5)
        await lab.when("owner", lambda pod: pod.status.container_statuses[0].restart_count == 1)
        await lab.running("owner")
        assert (await allowed(lab, "owner"), await allowed(lab, "shares")) == (own, ALL - own)

        body = {"spec": {"containers": [{"name": "main", "resources": owning("500m")[0]["resources"]}]}}
        await lab.client.patch(corev1.Pod, "owner", lab.namespace, body, subresource="resize")
        pod = await lab.when("owner", lambda pod: any(one.reason == "Infeasible" for one in pod.status.conditions))
        assert any("alongside CPU Manager static policy" in one.message for one in pod.status.conditions)
        assert await allowed(lab, "owner") == own

        await lab.delete("owner")
        await lab.gone("owner")
        await on(lab, "shares", ALL)
        await on(lab, "late", ALL)

        # The policy is not changed over what is there.
        lab.kill_kubelet()
        lab.host.start_kubelet(lab.runtime)
        refused = lab.host.kubelets[lab.runtime]

        async def has_ended() -> bool:
            return refused.poll() is not None

        await lab.eventually(has_ended, "the kubelet refuses")
        assert "please drain this node and delete the CPU manager checkpoint file" in lab.host.log(
            lab.runtime
        ).read_text(errors="replace")
