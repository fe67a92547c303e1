"""kubectl and objects: what it makes, shows, changes and deletes, and what it prints about that."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Kubectl, Lab

IMAGE = "navarch.dev/busybox:latest"
CREATED = [
    (("configmap", "c", "--from-literal=a=1"), "configmap/c created"),
    (("secret", "generic", "s", "--from-literal=a=1"), "secret/s created"),
    (("secret", "docker-registry", "dr", "--docker-username=u", "--docker-password=p"), "secret/dr created"),
    (("deployment", "d", f"--image={IMAGE}", "--replicas=0"), "deployment.apps/d created"),
    (("job", "j", f"--image={IMAGE}", "--", "true"), "job.batch/j created"),
    (("cronjob", "cj", f"--image={IMAGE}", "--schedule=*/5 * * * *", "--", "true"), "cronjob.batch/cj created"),
    (("ingress", "i", "--rule=example.org/=web:80"), "ingress.networking.k8s.io/i created"),
    (("poddisruptionbudget", "b", "--selector=app=x", "--min-available=1"), "poddisruptionbudget.policy/b created"),
    (("quota", "q", "--hard=pods=10"), "resourcequota/q created"),
    (("role", "r", "--verb=get,list", "--resource=pods"), "role.rbac.authorization.k8s.io/r created"),
    (("rolebinding", "rb", "--role=r", "--user=jane"), "rolebinding.rbac.authorization.k8s.io/rb created"),
    (("service", "clusterip", "sc", "--tcp=80:8080"), "service/sc created"),
    (("service", "nodeport", "sn", "--tcp=80"), "service/sn created"),
    (("service", "externalname", "se", "--external-name=example.org"), "service/se created"),
    (("service", "loadbalancer", "sl", "--tcp=80"), "service/sl created"),
    (("serviceaccount", "sa"), "serviceaccount/sa created"),
]
CLUSTER_WIDE = [
    (("namespace", "{}"), "namespace/{} created"),
    (("clusterrole", "{}", "--verb=get", "--resource=pods"), "clusterrole.rbac.authorization.k8s.io/{} created"),
    (
        ("clusterrolebinding", "{}", "--clusterrole=view", "--user=jane"),
        "clusterrolebinding.rbac.authorization.k8s.io/{} created",
    ),
    (("priorityclass", "{}", "--value=7"), "priorityclass.scheduling.k8s.io/{} created"),
]


@pytest.mark.parametrize(("words", "said"), CREATED, ids=[" ".join(words[:2]) for words, _ in CREATED])
def test_create_get_describe_delete(kubectl: "Kubectl", words: tuple[str, ...], said: str) -> None:
    assert kubectl("create", *words).strip() == said
    name = said.split()[0]
    assert kubectl("get", name, "-o", "name").strip() == name
    assert kubectl("get", name).splitlines()[1].startswith(f"{name.partition('/')[2]} ")
    assert re.search(rf"^Name: +{name.partition('/')[2]}$", kubectl("describe", name), re.MULTILINE)
    # A service account is made of nothing that could be owned.
    managers = kubectl("get", name, "-o", "jsonpath={.metadata.managedFields[*].manager}").split()
    assert ("kubectl-create" in managers) == (words[0] != "serviceaccount")
    deleted = kubectl("delete", name, "--now")
    kind, _, short = name.partition("/")
    assert f'{kind} "{short}" deleted' in deleted


@pytest.mark.parametrize(("words", "said"), CLUSTER_WIDE, ids=[words[0] for words, _ in CLUSTER_WIDE])
def test_create_beyond_namespaces(kubectl: "Kubectl", words: tuple[str, ...], said: str) -> None:
    unique = f"{kubectl.lab.namespace}-x"
    assert kubectl("create", *(word.format(unique) for word in words)).strip() == said.format(unique)
    name = said.split()[0].format(unique)
    assert unique in kubectl("describe", name)
    assert "deleted" in kubectl("delete", name)


def test_tokens_and_questions(kubectl: "Kubectl") -> None:
    token = kubectl("create", "token", "default", "--duration=20m").strip()
    assert token.count(".") == 2
    whoami = kubectl("auth", "whoami")
    assert re.search(r"^Username +kubernetes-admin$", whoami, re.MULTILINE)
    assert kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"
    assert kubectl("auth", "can-i", "get", "secrets", "--as=jane", code=1).strip() == "no"
    by_token = kubectl("auth", "whoami", f"--token={token}", "--client-certificate=", "--client-key=", "-o", "json")
    assert json.loads(by_token)["kind"] == "SelfSubjectReview"


def test_apply_by_the_client(kubectl: "Kubectl", lab: "Lab", tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(lab.config_map()))
    assert kubectl("apply", "-f", str(path)) == "configmap/settings created\n"
    assert kubectl("apply", "-f", str(path)) == "configmap/settings unchanged\n"
    changed = lab.config_map()
    changed["data"] = {"color": "blue"}
    path.write_text(yaml.safe_dump(changed))
    difference = kubectl("diff", "-f", str(path), code=1)
    assert "-  color: red" in difference
    assert "+  color: blue" in difference
    assert kubectl("apply", "-f", str(path)) == "configmap/settings configured\n"
    assert json.loads(kubectl("get", "cm", "settings", "-o", "jsonpath={.data}")) == {"color": "blue"}
    other = {**lab.config_map("other"), "data": {}}
    other["metadata"]["labels"] = {"app": "client"}
    path.write_text(yaml.safe_dump(other))
    pruned = kubectl("apply", "-f", str(path), "--prune", "-l", "app=client", "--prune-allowlist=core/v1/ConfigMap")
    assert "configmap/settings pruned" in pruned
    assert 'configmaps "settings" not found' in kubectl.fails("get", "cm", "settings")


def test_apply_by_the_server(kubectl: "Kubectl", lab: "Lab", tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(lab.config_map()))
    assert kubectl("apply", "--server-side", "-f", str(path)) == "configmap/settings serverside-applied\n"
    kubectl("patch", "cm", "settings", "--field-manager=other", "-p", '{"data":{"color":"green"}}')
    conflict = kubectl.fails("apply", "--server-side", "-f", str(path))
    assert 'conflict with "other" using v1: .data.color' in conflict
    forced = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    assert forced == "configmap/settings serverside-applied\n"
    shown = yaml.safe_load(kubectl("get", "cm", "settings", "-o", "yaml", "--show-managed-fields"))
    assert {entry["manager"] for entry in shown["metadata"]["managedFields"]} == {"kubectl"}


def test_kustomize(kubectl: "Kubectl", lab: "Lab", tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(lab.config_map()))
    (tmp_path / "kustomization.yaml").write_text("namePrefix: my-\nresources: [c.yaml]\n")
    assert kubectl("apply", "-k", str(tmp_path)) == "configmap/my-settings created\n"
    assert "name: my-settings" in kubectl("kustomize", str(tmp_path))


def test_edit_replace_patch_label_annotate(kubectl: "Kubectl", lab: "Lab", tmp_path: Path) -> None:
    kubectl("create", "configmap", "c", "--from-literal=color=red")
    edited = kubectl("edit", "configmap", "c", KUBE_EDITOR="sed -i s/red/blue/")
    assert edited == "configmap/c edited\n"
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data.color}") == "blue"
    assert kubectl("label", "cm", "c", "a=b") == "configmap/c labeled\n"
    assert "already has a value (b)" in kubectl.fails("label", "cm", "c", "a=z")
    assert kubectl("label", "cm", "c", "a-") == "configmap/c unlabeled\n"
    assert kubectl("annotate", "cm", "c", "n=m") == "configmap/c annotated\n"
    assert kubectl("patch", "cm", "c", "-p", '{"data":{"x":"1"}}') == "configmap/c patched\n"
    operations = '[{"op":"remove","path":"/data/x"}]'
    assert kubectl("patch", "cm", "c", "--type=json", "-p", operations) == "configmap/c patched\n"
    assert kubectl("patch", "cm", "c", "--type=merge", "-p", '{"data":{"color":null}}') == "configmap/c patched\n"
    assert "data" not in json.loads(kubectl("get", "cm", "c", "-o", "json"))
    document: Any = yaml.safe_load(kubectl("get", "cm", "c", "-o", "yaml"))
    document["data"] = {"y": "2"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    assert kubectl("replace", "-f", str(tmp_path / "c.yaml")) == "configmap/c replaced\n"
    forced = kubectl("replace", "--force", "-f", str(tmp_path / "c.yaml"))
    assert "configmap/c replaced" in forced


def test_ways_to_get(kubectl: "Kubectl") -> None:
    for name, team in (("b", "red"), ("a", "blue"), ("c", "red")):
        kubectl("create", "configmap", name, "--from-literal=k=v")
        kubectl("label", "configmap", name, f"team={team}")
    mine = ("configmaps", "-l", "team")
    assert kubectl("get", *mine, "--sort-by=.metadata.name", "-o", "name").split() == [
        "configmap/a",
        "configmap/b",
        "configmap/c",
    ]
    assert kubectl("get", "cm", "-l", "team=red", "-o", "name").split() == ["configmap/b", "configmap/c"]
    assert kubectl("get", "cm", "--field-selector=metadata.name=a", "-o", "name") == "configmap/a\n"
    columns = kubectl("get", *mine, "-o", "custom-columns=NAME:.metadata.name,TEAM:.metadata.labels.team")
    assert [line.split() for line in columns.splitlines()] == [
        ["NAME", "TEAM"],
        ["a", "blue"],
        ["b", "red"],
        ["c", "red"],
    ]
    assert kubectl("get", *mine, "--chunk-size=1", "--no-headers").count("\n") == 3
    assert "team=blue" in kubectl("get", "cm", "a", "--show-labels")
    assert kubectl("get", "cm", "a", "-L", "team").split()[-1] == "blue"
    everywhere = kubectl("get", "cm", "-A")
    assert everywhere.split()[:4] == ["NAMESPACE", "NAME", "DATA", "AGE"]
    assert kubectl.lab.namespace in everywhere
    assert len(json.loads(kubectl("get", *mine, "-o", "json"))["items"]) == 3
    assert kubectl("get", *mine, "-o", "go-template={{range .items}}{{.metadata.name}} {{end}}").split() == [
        "a",
        "b",
        "c",
    ]
    assert "No resources found" in kubectl.run("get", "pods").stderr
    assert kubectl("delete", "cm", "-l", "team=red").count("deleted") == 2


def test_custom_resources(kubectl: "Kubectl", lab: "Lab") -> None:
    definition = json.dumps(lab.definition())
    assert "created" in kubectl("apply", "-f", "-", stdin=definition)
    kubectl("wait", "--for=condition=Established", f"crd/gadgets.{lab.group}", "--timeout=20s")
    assert "created" in kubectl("apply", "-f", "-", stdin=json.dumps(lab.gadget()))
    assert kubectl("get", f"gadgets.{lab.group}", "one", "-o", "jsonpath={.spec}") == '{"color":"red","size":1}'
    assert "should be greater than or equal to 1" in kubectl.fails(
        "apply", "-f", "-", stdin=json.dumps(lab.gadget("bad", size=0))
    )
    assert re.search(r"^Name: +one$", kubectl("describe", f"gadgets.{lab.group}", "one"), re.MULTILINE)
    assert "<integer>" in kubectl("explain", f"gadgets.{lab.group}.spec.size")
    assert f"gadgets.{lab.group}" in kubectl("api-resources", "-o", "name", f"--api-group={lab.group}")


def test_what_the_server_says_about_itself(kubectl: "Kubectl") -> None:
    assert "Server Version: v1.36" in kubectl("version")
    assert {"v1", "apps/v1", "batch/v1"} <= set(kubectl("api-versions").split())
    rows = kubectl("api-resources", "--no-headers")
    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment$", rows, re.MULTILINE)
    explained = kubectl("explain", "deployment.spec.replicas")
    assert "FIELD: replicas <integer>" in explained
    assert "containers" in kubectl("explain", "pod", "--recursive")
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "control plane is running" in kubectl("cluster-info")
    assert "Metrics API not available" in kubectl.fails("top", "nodes")
