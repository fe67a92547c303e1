"""What Pods use, as the kubelet tells metrics-server, Prometheus and people, over both runtimes."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api import codec
from navarch.services.base.tls_context import client_context
from navarch.testing.kubelet_lab import Lab


@asynccontextmanager
async def session(lab: Lab) -> AsyncIterator[aiohttp.ClientSession]:
    """The kubelet's HTTPS endpoints, as an administrator."""
    context: ssl.SSLContext = client_context(lab.credentials("kube-apiserver", "system:masters"))
    base = f"https://{await lab.kubelet_address()}"
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=context)) as opened:
        yield opened


async def summary(kubelet: aiohttp.ClientSession, query: str = "") -> dict[str, Any]:
    async with kubelet.get(f"/stats/summary{query}") as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


def pod_in(found: dict[str, Any], lab: Lab, name: str) -> dict[str, Any] | None:
    refs = [(pod, pod["podRef"]) for pod in found["pods"]]
    return next((pod for pod, ref in refs if (ref["namespace"], ref["name"]) == (lab.namespace, name)), None)


async def test_the_summary_tells_what_a_pod_and_the_node_use(lab: Lab) -> None:
    work = "head -c 3000000 /dev/zero > /cache/big; head -c 2000000 /dev/zero > /layer; echo ready; while :; do :; done"
    await lab.create(
        "worker",
        containers=[
            {
                "name": "main",
                "command": ["sh", "-c", work],
                "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                "resources": {"limits": {"memory": "64Mi", "cpu": "200m"}},
            }
        ],
        volumes=[{"name": "cache", "emptyDir": {}}],
    )
    await lab.running("worker")
    await lab.said("worker", "ready")
    async with session(lab) as kubelet:
        found: dict[str, Any] = {}

        async def is_whole() -> bool:
            nonlocal found
            found = await summary(kubelet)
            pod = pod_in(found, lab, "worker") or {}
            volumes = {one["name"]: one.get("usedBytes", 0) for one in pod.get("volume", ())}
            layer = pod["containers"][0].get("rootfs", {}).get("usedBytes", 0) if pod.get("containers") else 0
            return (
                volumes.get("cache", 0) >= 3_000_000
                and layer >= 2_000_000
                and pod["cpu"].get("usageNanoCores", 0) > 0
                and pod["containers"][0]["cpu"].get("usageNanoCores", 0) > 0
            )

        await lab.eventually(is_whole, "the summary is whole")
        pod = pod_in(found, lab, "worker")
        assert pod is not None
        [main] = pod["containers"]
        assert main["cpu"]["usageCoreNanoSeconds"] > 0
        assert 0 < main["memory"]["workingSetBytes"] <= 64 << 20
        assert 0 < main["memory"]["availableBytes"] < 64 << 20
        assert main["logs"]["usedBytes"] > 0
        assert main["rootfs"]["capacityBytes"] > main["rootfs"]["usedBytes"]
        assert pod["process_stats"]["process_count"] >= 1
        assert pod["ephemeral-storage"]["usedBytes"] >= 5_000_000
        assert "eth0" in [one["name"] for one in pod["network"]["interfaces"]]
        node = found["node"]
        assert node["nodeName"] == lab.node
        assert {"kubelet", "runtime", "pods"} <= {one["name"] for one in node["systemContainers"]}
        assert node["runtime"]["imageFs"]["capacityBytes"] > 0
        assert node["rlimit"]["curproc"] > 0
        assert node["fs"]["inodesUsed"] > 0

        light = pod_in(await summary(kubelet, "?only_cpu_and_memory=true"), lab, "worker")
        assert light is not None
        assert set(light) == {"podRef", "startTime", "containers", "cpu", "memory"}

        for path, name in (("resource", "pod_cpu_usage_seconds_total"), ("cadvisor", "container_memory_rss")):
            async with kubelet.get(f"/metrics/{path}") as response:
                families = text_string_to_metric_families(await response.text())
            labels = [one.labels for family in families for one in family.samples if one.name == name]
            assert (lab.namespace, "worker") in [(one.get("namespace"), one.get("pod")) for one in labels], path

    async with lab.kubelet() as stub:
        told = await stub.Summarize(node_pb2.SummarizeRequest())
    assert (lab.namespace, "worker") in [(pod.pod_ref.namespace, pod.pod_ref.name) for pod in told.pods]


async def test_volumes_by_claims_are_measured_and_named_by_their_claims(lab: Lab, tmp_path: Path) -> None:
    name = f"{lab.namespace}-data"
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    asked = {**spec, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": name}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": asked}
    made = await lab.make(claim)
    reference = {"namespace": lab.namespace, "name": "data", "uid": made.metadata.uid}
    source = {"hostPath": {"path": str(tmp_path)}, "capacity": {"storage": "1Gi"}, "claimRef": reference}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {**spec, **source}}
    await lab.client.create(codec.from_json(volume))
    made.status.phase = "Bound"
    await lab.client.update_status(made)
    await lab.create("keeper", volumes=[{"name": "store", "persistentVolumeClaim": {"claimName": "data"}}])
    await lab.running("keeper")
    async with session(lab) as kubelet:

        async def volumes() -> dict[str, Any]:
            pod = pod_in(await summary(kubelet), lab, "keeper") or {}
            return {one["name"]: one for one in pod.get("volume", ())}

        found = await lab.eventually(volumes, "the volume is measured")
        assert found["store"]["pvcRef"] == {"name": "data", "namespace": lab.namespace}
        assert 0 < found["store"]["availableBytes"] <= found["store"]["capacityBytes"]
        async with kubelet.get("/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        labels = [
            one.labels
            for family in families
            for one in family.samples
            if one.name == "kubelet_volume_stats_capacity_bytes"
        ]
        assert {"namespace": lab.namespace, "persistentvolumeclaim": "data"} in labels
    await lab.delete("keeper")
    await lab.gone("keeper")
    await lab.client.delete(corev1.PersistentVolume, name)
