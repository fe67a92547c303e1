"""kubectl and what runs: Deployments, Pods, nodes, events, and waiting for all of them."""

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Kubectl, Lab

IMAGE = "navarch.dev/busybox:latest"
NEXT = "navarch.dev/busybox:next"


@pytest.fixture
def web(kubectl: "Kubectl") -> "Kubectl":
    """A Deployment "web" of two Pods that run."""
    kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--", "sleep", "1000")
    # Images of the lab are on the node already, and nowhere else; sleep ignores SIGTERM.
    changes = {"containers/0/imagePullPolicy": "IfNotPresent", "terminationGracePeriodSeconds": 1}
    patch = [{"op": "add", "path": f"/spec/template/spec/{path}", "value": value} for path, value in changes.items()]
    kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps(patch))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return kubectl


def test_the_life_of_a_deployment(web: "Kubectl") -> None:
    assert web("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert "condition met" in web("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=60s")
    assert web("set", "image", "deployment/web", f"busybox={NEXT}") == "deployment.apps/web image updated\n"
    assert "successfully rolled out" in web("rollout", "status", "deployment/web", "--timeout=60s")
    assert web("set", "env", "deployment/web", "COLOR=red") == "deployment.apps/web env updated\n"
    assert "resource requirements updated" in web("set", "resources", "deployment/web", "--requests=cpu=10m")
    history = web("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()][-1] >= "4"
    assert web("rollout", "undo", "deployment/web", "--to-revision=2") == "deployment.apps/web rolled back\n"
    assert web("get", "deployment", "web", "-o", "jsonpath={..containers[0].image}") == IMAGE
    assert web("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert web("rollout", "resume", "deployment/web") == "deployment.apps/web resumed\n"
    assert web("rollout", "restart", "deployment/web") == "deployment.apps/web restarted\n"
    assert "successfully rolled out" in web("rollout", "status", "deployment/web", "--timeout=60s")
    assert web("autoscale", "deployment", "web", "--max=5").endswith("autoscaled\n")
    wide = web("get", "deployment", "web", "-o", "wide").splitlines()
    assert wide[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide[1].split()[:2] == ["web", "3/3"]
    described = web("describe", "deployment", "web")
    assert re.search(r"^Replicas: +3 desired \| 3 updated \| 3 total \| 3 available", described, re.MULTILINE)
    assert "ScalingReplicaSet" in described


def test_services_and_events(web: "Kubectl") -> None:
    assert web("expose", "deployment", "web", "--port=80", "--target-port=8080") == "service/web exposed\n"
    assert web("get", "service", "web").splitlines()[1].split()[1] == "ClusterIP"
    slices = web("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={..addresses[*]}")
    assert len(slices.split()) == 2
    assert "Endpoints:" in web("describe", "service", "web")
    everything = web("get", "all")
    for name in ("deployment.apps/web", "service/web", "replicaset.apps/web-", "pod/web-"):
        assert name in everything
    assert re.search(r"Normal +Scheduled +Pod/web-", web("events"))
    assert re.search(r"Normal +Started +pod/web-", web("get", "events", "--sort-by=.lastTimestamp"))


def test_pods(kubectl: "Kubectl") -> None:
    pod = ("run", "one", f"--image={IMAGE}", "--image-pull-policy=IfNotPresent")
    assert kubectl(*pod, "--", "sh", "-c", "echo first; echo second; sleep 1000") == "pod/one created\n"
    assert kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s") == "pod/one condition met\n"
    header, row = kubectl("get", "pod", "one", "-o", "wide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert row.split()[:4] == ["one", "1/1", "Running", "0"]
    assert kubectl("logs", "one") == "first\nsecond\n"
    assert kubectl("logs", "one", "--tail=1") == "second\n"
    assert kubectl("logs", "one", "--since=10m", "--prefix").startswith("[pod/one/one] first\n")
    assert kubectl("logs", "-l", "run=one", "--all-containers").count("\n") == 2
    assert "previous terminated container" in kubectl.fails("logs", "one", "--previous")
    described = kubectl("describe", "pod", "one")
    assert re.search(r"^Status: +Running$", described, re.MULTILINE)
    assert "Successfully assigned" in described
    assert kubectl("exec", "one", "--", "echo", "hi") == "hi\n"
    assert kubectl("delete", "pod", "one", "--now").startswith('pod "one" deleted')
    assert 'pods "one" not found' in kubectl.fails("get", "pod", "one")


def test_watching(kubectl: "Kubectl", lab: "Lab") -> None:
    kubectl("create", "configmap", "c")
    command = ["timeout", "20", *kubectl.run("version").args[:3], "get", "cm", "c", "-w", "--no-headers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().split()[:2] == ["c", "0"]
        kubectl("patch", "cm", "c", "-p", '{"data":{"a":"1"}}')
        assert watching.stdout.readline().split()[:2] == ["c", "1"]
        watching.terminate()


def test_deletions_cascade_or_not(web: "Kubectl") -> None:
    assert "deleted" in web("delete", "deployment", "web", "--cascade=orphan")
    kept = web("get", "replicaset", "-o", "name").split()
    assert kept
    assert "deleted" in web("delete", *kept, "--cascade=foreground")
    assert web("get", "pods", "-o", "name", "--field-selector=status.phase=Running") == ""


def test_nodes(web: "Kubectl") -> None:
    node = web("get", "nodes", "-o", "name").strip()
    name = node.partition("/")[2]
    assert web("get", "nodes").splitlines()[1].split()[:2] == [name, "Ready"]
    assert re.search(r"^Name: +" + re.escape(name), web("describe", node), re.MULTILINE)
    assert web("cordon", name) == f"{node} cordoned\n"
    try:
        assert "SchedulingDisabled" in web("get", "nodes")
        drained = web(
            "drain", name, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--pod-selector=app=web"
        )
        assert f"{node} drained" in drained
    finally:
        assert web("uncordon", name) == f"{node} uncordoned\n"
    assert web("taint", "node", name, "example.org/x=y:PreferNoSchedule") == f"{node} tainted\n"
    assert web("taint", "node", name, "example.org/x-") == f"{node} untainted\n"
    assert "successfully rolled out" in web("rollout", "status", "deployment/web", "--timeout=60s")


def test_waiting_for_what_comes_and_goes(kubectl: "Kubectl") -> None:
    kubectl("create", "configmap", "c")
    assert kubectl("wait", "--for=create", "cm/c", "--timeout=5s") == "configmap/c condition met\n"
    kubectl("delete", "cm", "c")
    assert kubectl.run("wait", "--for=delete", "cm/c", "--timeout=5s").returncode == 0
    assert "timed out" in kubectl.fails("wait", "--for=create", "cm/never", "--timeout=1s")
