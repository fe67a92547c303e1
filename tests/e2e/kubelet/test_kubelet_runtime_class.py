"""A Pod runs with the handler that its RuntimeClass names, and has the overhead that the class says."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.node import v1_pb2 as nodev1
from navarch.services.api import codec
from navarch.services.api.pod_resources import amounts
from navarch.services.kubelet.cgroups import ROOT, ControlGroups
from navarch.services.kubelet.core.cgroup_settings import GroupSettings, files
from navarch.testing.kubelet_lab import Lab
from navarch.testing.private_containerd import OTHER_HANDLER

MIB = 1 << 20
UNIFIED = ControlGroups().unified
STAYS = {"name": "main", "command": ["sleep", "3600"]}


@contextlib.asynccontextmanager
async def runtime_class(lab: Lab, **more: Any) -> AsyncIterator[str]:
    """A class with the other handler; its name."""
    api = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass"}
    name = f"class-of-{lab.namespace}"
    await lab.client.create(codec.from_json({**api, "metadata": {"name": name}, "handler": OTHER_HANDLER, **more}))
    yield name
    await lab.client.delete(nodev1.RuntimeClass, name)


async def test_a_runtime_class_chooses_the_handler(lab: Lab) -> None:
    async with runtime_class(lab) as name:
        calls = lab.host.containerd.other_runc.parent / "calls"
        before = calls.read_text().count("create") if calls.exists() else 0
        await lab.create("classed", runtimeClassName=name)
        await lab.running("classed")
        assert calls.read_text().count("create") > before


async def test_the_overhead_of_a_runtime_class_counts(lab: Lab) -> None:
    node = await lab.client.get(corev1.Node, lab.node)
    cpu = amounts(node.status.allocatable)["cpu"]
    async with runtime_class(lab, overhead={"podFixed": {"cpu": "300m", "memory": "16Mi"}}) as name:
        sizes = {"cpu": "100m", "memory": "32Mi"}
        main = {**STAYS, "resources": {"requests": sizes, "limits": sizes}}
        made = await lab.create("over", runtimeClassName=name, containers=[main])
        assert amounts(made.spec.overhead) == {"cpu": 300, "memory": 16 * MIB}
        pod = await lab.running("over")
        assert pod.status.qos_class == "Guaranteed"
        # The Pod has both together, its container what it asks for.
        wanted = GroupSettings(cpu_shares=409, cpu_quota_us=40_000, memory_bytes=48 * MIB)
        group = f"{lab.host.containerd.cgroup_root}/{lab.runtime}/kubepods/pod{made.metadata.uid}"
        for file, content in files(wanted, unified=UNIFIED).items():
            tree, _, leaf = file.rpartition("/")
            assert (ROOT / tree / group.lstrip("/") / leaf).read_text().strip() == content
        (status,) = pod.status.container_statuses
        assert amounts(status.allocated_resources) == {"cpu": 100, "memory": 32 * MIB}
        # There is room for the container, but not for its Pod.
        await lab.create(
            "large",
            runtimeClassName=name,
            containers=[{**STAYS, "resources": {"requests": {"cpu": f"{cpu - 600}m"}}}],
        )
        large = await lab.ended("large")
        assert large.status.reason == "OutOfcpu"
        assert f"requested: {cpu - 300}, used: " in large.status.message
