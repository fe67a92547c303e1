"""`navarch node`: what it says of Pods that do not run, each for a reason of its own, and of the node."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.kubeconfig import write_kubeconfig
from navarch.testing.kubelet_lab import Lab
from navarch.testing.private_containerd import IMAGE

GONE = "127.0.0.1:1/gone:1"


@pytest.fixture
def kubeconfig(lab: Lab, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    credentials = lab.credentials("admin", "system:masters")
    write_kubeconfig(path, lab.host.rest_url, credentials, grpc_address=lab.host.api_server)
    return path


async def navarch(kubeconfig: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "navarch.cli", *words, f"--kubeconfig={kubeconfig}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def said(kubeconfig: Path, *words: str) -> str:
    code, out, err = await navarch(kubeconfig, *words)
    assert code == 0, err
    return out


def main(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "command": ["sleep", "3600"], **fields}]


def waits_for(*reasons: str) -> Callable[[corev1.Pod], bool]:
    return lambda pod: any(one.state.waiting.reason in reasons for one in pod.status.container_statuses)


async def test_each_kind_of_pod_that_does_not_run_is_explained(lab: Lab, kubeconfig: Path) -> None:
    key = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "a"}}}
    probe = {"exec": {"command": ["sh", "-c", "echo not today; exit 1"]}, "periodSeconds": 1}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    await lab.make({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim})
    await lab.create("unplaced", nodeName="", nodeSelector={"disk": "golden"})
    await lab.create("imageless", containers=main(image=GONE))
    await lab.create("unconfigured", containers=main(env=[key]))
    await lab.create("crashing", containers=main(command=["sh", "-c", "echo no such file; exit 3"]))
    await lab.create("unready", containers=main(readinessProbe=probe))
    await lab.create("too-large", containers=main(resources={"requests": {"cpu": "9999"}}))
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    await lab.create("unclaimed", volumes=volumes)
    await lab.create("well")

    async def reasons(name: str) -> dict[str, str]:
        document = json.loads(await said(kubeconfig, "node", "debug", name, "-n", lab.namespace, "-o", "json"))
        return {one["about"]: one["text"] for one in document["reasons"]}

    await lab.when("unplaced", lambda pod: any(one.reason == "Unschedulable" for one in pod.status.conditions))
    found = json.loads(await said(kubeconfig, "node", "debug", "unplaced", "-n", lab.namespace, "-o", "json"))
    assert "nodes are available" in found["reasons"][0]["text"]
    assert "does not have the label disk=golden" in found["nodes"][lab.node]

    await lab.when("imageless", waits_for("ErrImagePull", "ImagePullBackOff"))
    assert f"image {GONE}: " in (await reasons("imageless"))["container main"]

    await lab.when("unconfigured", waits_for("CreateContainerConfigError"))
    assert (await reasons("unconfigured"))["ConfigMap absent"] == "does not exist (container main, variable A)"

    await lab.when("crashing", waits_for("CrashLoopBackOff"))
    assert (await reasons("crashing"))["container main"].startswith("ended with exit code 3; ")
    page = await said(kubeconfig, "node", "debug", "crashing", "-n", lab.namespace)
    assert "  Last words of main:\n    no such file\n" in page

    await lab.event("unready", "Unhealthy")
    assert (await reasons("unready"))["container main"].endswith("Readiness probe failed: not today")

    await lab.ended("too-large")
    assert (await reasons("too-large"))["Pod"].startswith("OutOfcpu: Pod was rejected: Node didn't have enough")

    await lab.event("unclaimed", "FailedMount")
    assert (await reasons("unclaimed"))["PersistentVolumeClaim data"] == "is Pending, storage class none"

    await lab.running("well")
    page = await said(kubeconfig, "node", "debug", "pod/well", "-n", lab.namespace)
    assert "Nothing is wrong with it" in page
    assert "New > Starting > " in page


async def test_an_owner_that_may_make_no_pods_is_explained(lab: Lab, kubeconfig: Path) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": main(image=IMAGE), "priorityClassName": "absent"},
    }
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    await lab.make({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    await lab.until(
        appsv1.Deployment, "web", lambda found: any(one.type == "ReplicaFailure" for one in found.status.conditions)
    )

    async def explained() -> bool:
        code, _, err = await navarch(kubeconfig, "node", "debug", "deployment/web", "-n", lab.namespace)
        return code == 1 and "deployment.apps/web has no Pods: " in err and "no PriorityClass with name absent" in err

    await lab.eventually(explained)


async def test_what_a_node_has_and_uses(lab: Lab, kubeconfig: Path) -> None:
    await lab.create("web")
    await lab.running("web")
    pods = await said(kubeconfig, "node", "pods", lab.node)
    assert [lab.namespace, "web", "1/1", "Running"] in [line.split()[:4] for line in pods.splitlines()]

    images = json.loads(await said(kubeconfig, "node", "images", lab.node, "-o", "json"))["images"]
    used = next(one for one in images if IMAGE in one["tags"])
    assert f"{lab.namespace}/web/main" in used["usedBy"]
    assert IMAGE in await said(kubeconfig, "node", "images", lab.node)

    stats = await said(kubeconfig, "node", "stats", lab.node, "-o", "wide")
    assert [lab.namespace, "web", "main"] in [line.split()[:3] for line in stats.splitlines()]
    assert "(the node)" in await said(kubeconfig, "node", "stats", lab.node)

    code, _, err = await navarch(kubeconfig, "node", "stats", "nowhere")
    assert (code, "nowhere" in err) == (1, True)

    assert " kubelet.node node.registered " in await said(kubeconfig, "node", "logs", lab.node, "--tail=100000")
    last = await said(kubeconfig, "node", "logs", lab.node, "kubelet", "--tail=1")
    assert len(last.splitlines()) == 1
    code, _, err = await navarch(kubeconfig, "node", "logs", lab.node, "../../etc/passwd")
    assert (code, "is no name of a service" in err) == (1, True)
