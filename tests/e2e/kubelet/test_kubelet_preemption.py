"""A critical Pod on a full node: others make room for it."""

from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.kubelet_lab import Lab

CRITICAL: dict[str, Any] = {"priorityClassName": "system-node-critical"}


def asking(cpu: str) -> list[dict[str, Any]]:
    return [{"name": "main", "command": ["sleep", "3600"], "resources": {"requests": {"cpu": cpu}}}]


async def test_a_critical_pod_displaces_as_few_as_it_needs_and_starts_when_they_are_gone(lab: Lab) -> None:
    try:
        lab.kill_kubelet()
        await lab.start_kubelet("--max-pods=4")
        await lab.create("free")
        await lab.create("small", containers=asking("10m"))
        await lab.create("large", containers=asking("20m"))
        await lab.create("critical", **CRITICAL)
        for name in ("free", "small", "large", "critical"):
            await lab.running(name)

        await lab.create("more-critical", containers=asking("15m"), **CRITICAL)
        free = await lab.ended("free")
        assert (free.status.phase, free.status.reason) == ("Failed", "Preempting")
        assert free.status.message == "Preempted in order to admit critical pod"
        target = next(one for one in free.status.conditions if one.type == "DisruptionTarget")
        assert target.message == "Pod was preempted by Kubelet to accommodate a critical pod."
        assert await lab.event("free", "Preempting") == free.status.message
        await lab.running("more-critical")

        await lab.create("usual", tolerations=[{"operator": "Exists"}])
        usual = await lab.ended("usual")
        assert usual.status.reason == "OutOfpods"
        for name in ("small", "large", "critical"):
            assert (await lab.running(name)).status.phase == "Running"

        node = await lab.client.get(corev1.Node, lab.node)
        cores = int(node.status.capacity["cpu"].string)
        await lab.create("hopeless", containers=asking(str(cores * 2)), **CRITICAL)
        hopeless = await lab.ended("hopeless")
        assert hopeless.status.reason == "UnexpectedAdmissionError"
        assert "no set of running pods found to reclaim resources: [(res: cpu" in hopeless.status.message
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()
