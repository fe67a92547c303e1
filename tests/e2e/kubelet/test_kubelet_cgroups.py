"""The control groups of real Pods: made by the kubelet with the Pod's limits, and gone with it."""

import asyncio
from pathlib import Path
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.cgroups import ROOT, ControlGroups
from navarch.services.kubelet.core.cgroup_settings import GroupSettings, class_settings, files
from navarch.testing.kubelet_lab import Lab

MIB = 1 << 20
UNIFIED = ControlGroups().unified
MAX_PIDS = 24


def above(lab: Lab) -> str:
    return f"{lab.host.containerd.cgroup_root}/{lab.runtime}/kubepods"


def in_kernel(group: str, settings: GroupSettings) -> dict[str, str]:
    """What the kernel has where these settings were written."""
    names = (name.rpartition("/") for name in files(settings, unified=UNIFIED))
    return {
        f"{tree}{slash}{file}": (ROOT / tree / group.lstrip("/") / file).read_text().strip()
        for tree, slash, file in names
    }


def has(lab: Lab, group: str, **settings: Any) -> bool:
    """Whether the kernel has these settings for a group; "no limit" of memory is the kernel's largest number."""
    wanted = GroupSettings(**settings)
    return in_kernel(f"{above(lab)}{group}", wanted) == files(wanted, unified=UNIFIED)


async def test_the_limits_of_a_pod_as_a_whole_are_its_groups(lab: Lab) -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "300m", "memory": "96Mi"}}
    made = await lab.create("whole", resources=resources)
    await lab.running("whole")
    group = f"/burstable/pod{made.metadata.uid}"
    assert has(lab, group, cpu_shares=102, cpu_quota_us=30_000, memory_bytes=96 * MIB)

    async def balanced() -> bool:
        here = [pod for pod in (await lab.client.list(corev1.Pod)).items if pod.spec.node_name == lab.node]
        return all(
            has(lab, f"/{class_.lower()}", cpu_shares=settings.cpu_shares)
            for class_, settings in class_settings(here).items()
        )

    await lab.eventually(balanced, "the classes have the shares of their Pods")
    await lab.delete("whole")
    await lab.gone("whole")

    async def removed() -> bool:
        return not list(ROOT.glob(f"**/pod{made.metadata.uid}"))

    await lab.eventually(removed, "its groups are gone from every tree")


async def test_a_resize_reaches_the_group_of_the_pod(lab: Lab) -> None:
    def sized(cpu: str, memory: str) -> dict[str, Any]:
        return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}

    containers = [{"name": "main", "command": ["sleep", "3600"], "resources": sized("100m", "32Mi")}]
    made = await lab.create("grows", containers=containers)
    await lab.running("grows")
    group = f"/pod{made.metadata.uid}"
    assert has(lab, group, cpu_quota_us=10_000, memory_bytes=32 * MIB)
    for cpu, memory, quota, size in (("200m", "64Mi", 20_000, 64), ("100m", "48Mi", 10_000, 48)):
        body = {"spec": {"containers": [{"name": "main", "resources": sized(cpu, memory)}]}}
        await lab.client.patch(corev1.Pod, "grows", lab.namespace, body, subresource="resize")

        async def resized(quota: int = quota, size: int = size) -> bool:
            return has(lab, group, cpu_quota_us=quota, memory_bytes=size * MIB)

        await lab.eventually(resized, f"the Pod's group has {cpu} and {memory}")


async def test_what_a_killed_kubelet_left_is_put_right_by_the_next(lab: Lab) -> None:
    limits = {"requests": {"cpu": "100m"}, "limits": {"cpu": "300m", "memory": "96Mi"}}
    kept = await lab.create("kept", containers=[{"name": "main", "command": ["sleep", "3600"], "resources": limits}])
    await lab.running("kept")
    lab.kill_kubelet()
    kept_group = f"/burstable/pod{kept.metadata.uid}"
    ControlGroups().write(f"{above(lab)}{kept_group}", GroupSettings(2, 70_000, 112 * MIB))
    group = f"{above(lab)}/burstable/podleft-behind"
    await asyncio.to_thread(ControlGroups().make, group, GroupSettings(2))
    await lab.start_kubelet(f"--pod-max-pids={MAX_PIDS}")
    made = await lab.create("next")
    await lab.running("next")

    async def swept() -> bool:
        return not any((Path(tree) / group.lstrip("/")).exists() for tree in ROOT.iterdir())

    await lab.eventually(swept, "the group of no Pod is gone")
    assert has(lab, f"/besteffort/pod{made.metadata.uid}", pids=MAX_PIDS)

    async def mended() -> bool:
        wanted = {"cpu_shares": 102, "cpu_quota_us": 30_000, "memory_bytes": 96 * MIB, "pids": MAX_PIDS}
        return has(lab, kept_group, **wanted)

    await lab.eventually(mended, "the Pod that runs on has its limits again, and the new one")
    lab.kill_kubelet()
    await lab.start_kubelet()
