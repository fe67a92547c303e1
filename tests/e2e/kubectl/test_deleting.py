"""delete and wait: what goes, what stays, and for how long to wait."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.kubectl.conftest import Kubectl


def test_what_is_deleted(kubectl: "Kubectl") -> None:
    space = kubectl.lab.namespace
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n, "labels": {"n": n}}} for n in "abcde"
    ]
    kubectl.apply(*documents)
    by_file = kubectl("delete", "-f", "-", stdin=json.dumps(documents[0]))
    assert by_file == f'configmap "a" deleted from {space} namespace\n'
    assert kubectl("delete", "cm", "-l", "n in (b,c)").count("deleted") == 2
    assert kubectl("delete", "cm", "d", "--dry-run=server") == (
        f'configmap "d" deleted from {space} namespace (server dry run)\n'
    )
    assert kubectl("delete", "cm", "d", "-o", "name") == "configmap/d\n"
    assert 'configmaps "d" not found' in kubectl.fails("delete", "cm", "d")
    assert kubectl("delete", "cm", "d", "--ignore-not-found") == ""
    assert 'configmap "e" deleted' in kubectl("delete", "cm", "--field-selector=metadata.name=e")
    assert kubectl.run("delete", "cm", "-l", "n").stdout == "No resources found\n"
    kubectl("create", "configmap", "f")
    assert 'configmap "f" deleted' in kubectl("delete", "cm", "--all")


def test_finalizers_hold_back(kubectl: "Kubectl") -> None:
    metadata = {"name": "held", "finalizers": ["example.org/hold"]}
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    assert 'configmap "held" deleted' in kubectl("delete", "cm", "held", "--wait=false")
    assert kubectl.json("cm", "held")["metadata"]["deletionTimestamp"]
    assert "timed out waiting for the condition" in kubectl.fails("delete", "cm", "held", "--timeout=1s")
    with kubectl.beside("wait", "--for=delete", "cm/held", "--timeout=30s") as waiting:
        kubectl("patch", "cm", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert waiting.wait(30) == 0


def test_pods_go_at_once_or_in_time(kubectl: "Kubectl") -> None:
    main = {"name": "main", "command": ["sleep", "1000"]}
    kubectl.pod("a", main)
    assert 'pod "a" deleted' in kubectl("delete", "pod", "a", "--now")
    kubectl.pod("b", main, terminationGracePeriodSeconds=300)
    forced = kubectl.run("delete", "pod", "b", "--force")
    assert "Immediate deletion does not wait for confirmation" in forced.stderr
    assert 'pod "b" force deleted' in forced.stdout
    assert "not found" in kubectl.fails("get", "pod", "b")
    kubectl.pod("c", main)
    kubectl("delete", "pod", "c", "--grace-period=1", "--wait=false")
    assert kubectl.run("wait", "--for=delete", "pod/c", "--timeout=30s").returncode == 0


def test_cascades(kubectl: "Kubectl") -> None:
    kubectl.deployment("web")
    assert 'deployment.apps "web" deleted' in kubectl("delete", "deployment", "web", "--cascade=orphan")
    (kept,) = kubectl("get", "replicasets", "-o", "name").split()
    assert "ownerReferences" not in kubectl.json(kept)["metadata"]
    kubectl("delete", kept, "--cascade=foreground")
    # Foreground: when it is gone, so are its Pods.
    assert kubectl("get", "pods", "-o", "name") == ""
    kubectl.deployment("next")
    kubectl("delete", "deployment", "next")
    kubectl("wait", "--for=delete", "pod", "-l", "app=next", "--timeout=60s")


def test_namespaces_take_all_with_them(kubectl: "Kubectl") -> None:
    name = f"{kubectl.lab.namespace}-b"
    kubectl("create", "namespace", name)
    kubectl("create", "configmap", "c", "-n", name)
    assert f'namespace "{name}" deleted' in kubectl("delete", "namespace", name)
    assert f'namespaces "{name}" not found' in kubectl.fails("get", "namespace", name)


def test_waiting(kubectl: "Kubectl") -> None:
    kubectl.pod("web", {"name": "main", "command": ["sleep", "1000"]})
    assert kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/web") == "pod/web condition met\n"
    assert kubectl("wait", "--for=jsonpath={.status.podIP}", "pod/web") == "pod/web condition met\n"
    assert kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web") == "pod/web condition met\n"
    assert kubectl("wait", "--for=condition=Ready", "pod", "--all") == "pod/web condition met\n"
    late = kubectl.fails("wait", "--for=condition=Ready=False", "pod/web", "--timeout=1s")
    assert late.endswith("error: timed out waiting for the condition on pods/web\n")
    late = kubectl.fails("wait", "--for=delete", "pod/web", "--timeout=1s")
    assert late.endswith("error: timed out waiting for the condition on pods/web\n")
    assert 'pods "none" not found' in kubectl.fails("wait", "--for=condition=Ready", "pod/none")
    with kubectl.beside("wait", "--for=create", "cm/later", "--timeout=30s") as waiting:
        kubectl("create", "configmap", "later")
        assert waiting.wait(30) == 0
        assert waiting.stdout.read() == "configmap/later condition met\n"
