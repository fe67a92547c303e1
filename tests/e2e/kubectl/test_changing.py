"""edit, patch, replace, set, scale, rollout: what they do to a live object, and what they refuse."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.kubectl.conftest import Kubectl


@pytest.fixture
def web(kubectl: "Kubectl") -> "Kubectl":
    """A Deployment web of one Pod."""
    kubectl.deployment("web")
    return kubectl


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("true", "Edit cancelled, no changes made."),
        ("sed -i s/replicas:.1/replicas:\\ many/", 'deployments.apps "web" is invalid'),
        ("sed -i s/name:.main/name:\\ NO_/", 'deployments.apps "web" is invalid'),
        ("sed -i s/strategy:/strateg:/", 'deployments.apps "web" is invalid'),
    ],
    ids=["nothing", "wrong type", "invalid", "unknown field"],
)
def test_edits_that_change_nothing(web: "Kubectl", script: str, said: str) -> None:
    before = web.json("deployment", "web")["spec"]
    done = web.run("edit", "deployment", "web", KUBE_EDITOR=script)
    assert said in done.stdout + done.stderr
    assert web.json("deployment", "web")["spec"] == before


def test_edits_of_parts(web: "Kubectl") -> None:
    edited = web("edit", "deployment", "web", "--subresource=status", KUBE_EDITOR="sed -i s/replicas:.1/replicas:\\ 7/")
    assert edited == "deployment.apps/web edited\n"


def test_patches_of_parts(web: "Kubectl") -> None:
    scaled = web("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":2}}')
    assert scaled == "scale.autoscaling/web patched\n"
    header, row = web("get", "deployment", "web", "--subresource=scale").splitlines()
    assert header.split() == ["NAME", "DESIRED", "AVAILABLE", "AGE"]
    assert row.split()[:2] == ["web", "2"]
    condition = {"type": "Example", "status": "True", "reason": "Because", "message": "so"}
    patch = json.dumps({"spec": {"replicas": 9}, "status": {"conditions": [condition]}})
    assert web("patch", "deployment", "web", "--subresource=status", "-p", patch) == "deployment.apps/web patched\n"
    assert web("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    shown = web("get", "deployment", "web", "--subresource=status", "-o", "jsonpath={.status.conditions[*].type}")
    assert "Example" in shown.split()


def test_patches_that_are_refused(web: "Kubectl") -> None:
    assert web("patch", "deployment", "web", "-p", "{}") == "deployment.apps/web patched (no change)\n"
    wrong_type = web.fails("patch", "deployment", "web", "-p", '{"spec":{"replicas":"x"}}')
    assert 'The request is invalid: patch: Invalid value: "map[spec:map[replicas:x]]"' in wrong_type
    missing = web.fails("patch", "deployment", "web", "--type=json", "-p", '[{"op":"remove","path":"/spec/nope"}]')
    assert "The request is invalid" in missing
    selector = '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}'
    assert "field is immutable" in web.fails("patch", "deployment", "web", "-p", selector)
    assert 'deployments.apps "no" not found' in web.fails("patch", "deployment", "no", "-p", "{}")


def test_replacing(kubectl: "Kubectl", tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    kubectl("create", "configmap", "c", "--from-literal=a=1")
    old = kubectl.json("cm", "c")
    kubectl("label", "cm", "c", "x=y")
    path.write_text(json.dumps(old))
    conflict = kubectl.fails("replace", "-f", str(path))
    assert 'Operation cannot be fulfilled on configmaps "c": the object has been modified' in conflict
    assert kubectl("replace", "--force", "-f", str(path)) == (
        f'configmap "c" deleted from {kubectl.lab.namespace} namespace\nconfigmap/c replaced\n'
    )
    assert kubectl.json("cm", "c")["metadata"]["uid"] != old["metadata"]["uid"]
    path.write_text(path.read_text().replace('"c"', '"none"'))
    assert 'configmaps "none" not found' in kubectl.fails("replace", "-f", str(path))


def test_labels_and_annotations(kubectl: "Kubectl") -> None:
    for name in ("a", "b"):
        kubectl("create", "configmap", name)
    all_maps = kubectl("label", "cm", "--all", "team=red")
    assert "configmap/a labeled\nconfigmap/b labeled\n" in all_maps
    assert kubectl("label", "cm", "a", "team=red") == "configmap/a not labeled\n"
    assert kubectl("label", "cm", "-l", "team=red", "--overwrite", "team=blue").count("labeled") == 3
    assert kubectl("label", "cm", "a", "--list") == "team=blue\n"
    assert 'invalid label value: "k=-": a valid label must' in kubectl.fails("label", "cm", "a", "k=-")
    assert kubectl("annotate", "cm", "a", "note=two words", "more=x") == "configmap/a annotated\n"
    assert sorted(kubectl("annotate", "cm", "a", "--list").splitlines()) == ["more=x", "note=two words"]
    taken = kubectl.fails("annotate", "cm", "a", "more=y")
    assert "--overwrite is false but found the following declared annotation(s)" in taken
    stale = kubectl.fails("annotate", "cm", "a", "--resource-version=1", "--overwrite", "more=y")
    assert "the object has been modified" in stale


def test_scaling_under_conditions(web: "Kubectl") -> None:
    refused = web.fails("scale", "deployment/web", "--replicas=3", "--current-replicas=7")
    assert "Expected replicas to be 7, was 1" in refused
    assert web("scale", "deployment/web", "--replicas=0", "--current-replicas=1") == "deployment.apps/web scaled\n"
    both = web.run("scale", "--replicas=1", "deployment/web", "deployment/none")
    assert both.stdout == "deployment.apps/web scaled\n"
    assert both.stderr == 'Error from server (NotFound): deployments.apps "none" not found\n'


def test_autoscaling(web: "Kubectl") -> None:
    said = web("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu=50%")
    assert said == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    header, row = web("get", "hpa", "web").splitlines()
    assert header.split() == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    assert row.split()[:6] == ["web", "Deployment/web", "cpu:", "<unknown>/50%", "1", "3"]
    described = web("describe", "hpa", "web")
    assert "resource cpu on pods  (as a percentage of request):  <unknown> / 50%" in described
    assert "already exists" in web.fails("autoscale", "deployment", "web", "--max=3", "--cpu=50%")


def test_settings_of_containers(web: "Kubectl") -> None:
    assert web("set", "env", "deployment/web", "A=1", "B=2") == "deployment.apps/web env updated\n"
    assert web("set", "env", "deployment/web", "A-") == "deployment.apps/web env updated\n"
    web("create", "configmap", "c", "--from-literal=X=1")
    web("set", "env", "deployment/web", "--from=configmap/c", "--prefix=P_")
    listed = web("set", "env", "deployment/web", "--list")
    assert listed.splitlines() == ["# Deployment web, container main", "B=2", "# P_X from configmap c, key X"]
    resources = ("set", "resources", "deployment/web", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=10m")
    assert web(*resources) == "deployment.apps/web resource requirements updated\n"
    (container,) = web.json("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "10m"}}
    assert web("set", "serviceaccount", "deployment/web", "default") == "deployment.apps/web serviceaccount updated\n"
    assert web("set", "image", "deployment/web", f"*={web.next}") == "deployment.apps/web image updated\n"
    assert "unable to find container named" in web.fails("set", "image", "deployment/web", "none=x")
    too_much = web.fails("set", "resources", "deployment/web", "--limits=cpu=1m")
    assert "must be less than or equal to cpu limit" in too_much


def test_settings_of_others(web: "Kubectl") -> None:
    web("expose", "deployment", "web", "--port=80")
    assert web("set", "selector", "service/web", "app=other") == "service/web selector updated\n"
    assert web.json("service", "web")["spec"]["selector"] == {"app": "other"}
    web("create", "rolebinding", "rb", "--clusterrole=view", "--user=a")
    added = web("set", "subject", "rolebinding", "rb", "--user=b", "--group=g")
    assert added == "rolebinding.rbac.authorization.k8s.io/rb subjects updated\n"
    assert web("get", "rolebinding", "rb", "-o", "wide", "--no-headers").split()[3:] == ["a,", "b", "g"]


def test_what_is_exposed(web: "Kubectl") -> None:
    assert "couldn't find port" in web.fails("expose", "deployment", "web")
    named = ("expose", "deployment", "web", "--name=s", "--port=80", "--target-port=8080", "--type=NodePort")
    assert web(*named, "--protocol=UDP", "--session-affinity=ClientIP") == "service/s exposed\n"
    described = web("describe", "service", "s")
    told = dict(line.split(":", 1) for line in described.splitlines())
    shown = {name: told[name].strip() for name in ("Type", "TargetPort", "Session Affinity")}
    assert shown == {"Type": "NodePort", "TargetPort": "8080/UDP", "Session Affinity": "ClientIP"}
    assert "already exists" in web.fails(*named)
    web("expose", "service", "s", "--name=again", "--port=81")
    assert web.json("service", "again")["spec"]["selector"] == {"app": "web"}


def test_revisions(web: "Kubectl") -> None:
    web("annotate", "deployment/web", "kubernetes.io/change-cause=first")
    web("set", "image", "deployment/web", f"main={web.next}")
    web("annotate", "deployment/web", "--overwrite", "kubernetes.io/change-cause=second")
    web("rollout", "status", "deployment/web", "--timeout=60s")
    history = web("rollout", "history", "deployment/web").split("\n")
    assert history[:4] == ["deployment.apps/web ", "REVISION  CHANGE-CAUSE", "1         first", "2         second"]
    shown = web("rollout", "history", "deployment/web", "--revision=1")
    assert "deployment.apps/web with revision #1" in shown
    assert f"Image:\t{web.latest}" in shown
    assert web("rollout", "undo", "deployment/web", "--dry-run=server").endswith("rolled back (server dry run)\n")
    assert "unable to find specified revision 99" in web.fails("rollout", "undo", "deployment/web", "--to-revision=99")
    assert web("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    web("rollout", "status", "deployment/web", "--timeout=60s")
    assert web("get", "deployment", "web", "-o", "jsonpath={..containers[0].image}") == web.latest


def test_a_paused_rollout(web: "Kubectl") -> None:
    web("set", "env", "deployment/web", "A=1")
    web("rollout", "status", "deployment/web", "--timeout=60s")
    assert web("rollout", "pause", "deployment/web") == "deployment.apps/web paused\n"
    assert "is already paused" in web.fails("rollout", "pause", "deployment/web")
    assert "can't restart paused deployment" in web.fails("rollout", "restart", "deployment/web")
    assert "you cannot rollback a paused deployment" in web.fails("rollout", "undo", "deployment/web")
    web("set", "image", "deployment/web", f"main={web.next}")
    assert web("get", "replicasets", "-o", "name").count("replicaset.apps/") == 2
    web("rollout", "resume", "deployment/web")
    assert "is not paused" in web.fails("rollout", "resume", "deployment/web")
    assert "successfully rolled out" in web("rollout", "status", "deployment/web", "--timeout=60s")
    assert web("get", "replicasets", "-o", "name").count("replicaset.apps/") == 3
