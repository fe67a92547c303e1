"""get, describe, explain, events: what is shown of objects, and how."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.e2e.kubectl.conftest import Kubectl

# Of some kinds, a line that `describe` shows beside the name.
DESCRIBED = {
    "ConfigMap": r"^key:$",
    "CronJob": r"^Schedule: +\S",
    "Deployment": r"^StrategyType: +\S",
    # The Service of the same name made it its own.
    "Endpoints": r"^Subsets:$",
    "EndpointSlice": r"^AddressType: +IPv",
    "HorizontalPodAutoscaler": r"^Max replicas: +\d",
    "Ingress": r"^Rules:$",
    "Job": r"^Completions: +\d",
    "LimitRange": r"^Container +cpu",
    "NetworkPolicy": r"^  PodSelector: ",
    "PersistentVolume": r"^StorageClass:",
    "PersistentVolumeClaim": r"^Access Modes:",
    "Pod": r"^Containers:$",
    "PodDisruptionBudget": r"^M(in available|ax unavailable): ",
    "PriorityClass": r"^Value: +\d",
    "ResourceQuota": r"^Resource +Used +Hard$",
    "Role": r"^PolicyRule:$",
    "RoleBinding": r"^Subjects:$",
    "Secret": r"^Type: +\S",
    "Service": r"^Selector: ",
    "ServiceAccount": r"^Image pull secrets: ",
    "StatefulSet": r"^Pod Management Policy: ",
    "StorageClass": r"^Provisioner: +\S",
}
# The cluster has its own of these, and would heed another one.
OWN = {"APIService": "v1.apps", "Namespace": "default", "Node": "{node}"}


def address(document: dict[str, Any]) -> str:
    """What names the type of an object without doubt: "deployments.v1.apps" with the kind in place of the plural."""
    group, _, version = document["apiVersion"].rpartition("/")
    return f"{document['kind']}.{version}.{group}"


def test_every_kind_is_described(kubectl: "Kubectl", every_kind: list[dict[str, Any]]) -> None:
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    made = [one for one in every_kind if one["kind"] not in OWN]
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    try:
        assert kubectl("create", "-f", "-", stdin=manifests).count(" created\n") == len(made)
        for one in every_kind:
            name = OWN.get(one["kind"], one["metadata"]["name"]).format(node=node)
            text = kubectl("describe", address(one), name)
            assert re.search(rf"^Name: +{re.escape(name)}$", text, re.MULTILINE), text
            assert re.search(DESCRIBED.get(one["kind"], ""), text, re.MULTILINE), text
    finally:
        kubectl("delete", "--wait=false", "--ignore-not-found", "-f", "-", stdin=manifests)


def test_every_kind_is_explained(kubectl: "Kubectl", every_kind: list[dict[str, Any]]) -> None:
    resources = {
        kind: name for name, kind in re.findall(r"^(\S+) .* (\S+)$", kubectl("api-resources", "--no-headers"), re.M)
    }
    for one in every_kind:
        text = kubectl("explain", resources[one["kind"]], f"--api-version={one['apiVersion']}")
        assert re.search(rf"^KIND: +{one['kind']}$", text, re.MULTILINE)
        for member in one:
            assert re.search(rf"^  {member}\t<", text, re.MULTILINE), f"{member} of {one['kind']}:\n{text}"


@pytest.mark.parametrize(
    ("field", "type_"),
    [
        ("pod.spec.containers.image", "<string>"),
        ("deployment.spec.strategy.rollingUpdate.maxSurge", "<IntOrString>"),
        ("pod.spec.containers.resources.limits", "<map[string]Quantity>"),
        ("hpa.spec.metrics", "<[]MetricSpec>"),
        ("crd.spec.versions.schema.openAPIV3Schema.required", "<[]string>"),
        ("node.status.conditions.type", "<string>"),
    ],
)
def test_fields_are_explained(kubectl: "Kubectl", field: str, type_: str) -> None:
    text = kubectl("explain", field)
    assert re.search(rf"^FIELD: {field.rpartition('.')[2]} {re.escape(type_)}", text, re.MULTILINE)
    by_v2 = kubectl("explain", field, "--output=plaintext-openapiv2")
    assert "DESCRIPTION:" in by_v2


def test_explanations_of_nothing(kubectl: "Kubectl") -> None:
    assert 'field "nope" does not exist' in kubectl.fails("explain", "pod.nope")
    assert 'the server doesn\'t have a resource type "nope"' in kubectl.fails("explain", "nope")
    recursive = kubectl("explain", "deployment", "--recursive")
    assert re.search(r"^ +containerPort\t<integer> -required-$", recursive, re.MULTILINE)


def test_formats(kubectl: "Kubectl", tmp_path: Path) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=2")
    shown = kubectl.json("cm", "c")
    assert yaml.safe_load(kubectl("get", "cm", "c", "-o", "yaml"))["data"] == shown["data"] == {"a": "1", "b": "2"}
    assert "managedFields" not in shown["metadata"]
    assert kubectl("get", "cm", "c", "-o", "name") == "configmap/c\n"
    assert kubectl("get", "cm", "c", "-o", r"jsonpath={.data.a}{'\n'}{.metadata.name}") == "1\nc"
    assert kubectl("get", "cm", "-o", "jsonpath={.items[?(@.metadata.name=='c')].data.b}") == "2"
    (tmp_path / "columns").write_text("NAME VALUE\n.metadata.name .data.a\n")
    from_file = kubectl("get", "cm", "c", "-o", f"custom-columns-file={tmp_path / 'columns'}")
    assert [line.split() for line in from_file.splitlines()] == [["NAME", "VALUE"], ["c", "1"]]
    assert kubectl("get", "cm", "c", "-o", "go-template={{len .data}}") == "2"
    kyaml = kubectl("get", "cm", "c", "-o", "kyaml")
    assert yaml.safe_load(kyaml)["data"] == {"a": "1", "b": "2"}


def test_selection(kubectl: "Kubectl") -> None:
    for name, team in (("a", "red"), ("b", "blue"), ("c", "")):
        kubectl("create", "configmap", name)
        if team:
            kubectl("label", "cm", name, f"team={team}")

    def names(*words: str) -> list[str]:
        found = kubectl("get", "cm", *words, "-o", "jsonpath={.items[*].metadata.name}").split()
        return [name for name in found if name != "kube-root-ca.crt"]

    assert names("-l", "team in (red,blue)") == ["a", "b"]
    assert names("-l", "team,team!=red") == ["b"]
    assert names("-l", "!team") == ["c"]
    assert names("--field-selector=metadata.name!=a") == ["b", "c"]
    assert names("-l", "team=red", "--field-selector", f"metadata.namespace={kubectl.lab.namespace}") == ["a"]
    assert names("--sort-by={.metadata.labels.team}") == ["c", "b", "a"]
    refused = kubectl.fails("get", "cm", "--field-selector=data.x=1")
    assert "field label not supported: data.x" in refused
    assert "unable to parse requirement" in kubectl.fails("get", "cm", "-l", "a in")
    assert names("--chunk-size=2") == ["a", "b", "c"]


def test_several_kinds_at_once(kubectl: "Kubectl") -> None:
    kubectl("create", "configmap", "c")
    kubectl("create", "serviceaccount", "robot")
    text = kubectl("get", "cm,sa", "--show-kind", "--no-headers")
    assert re.search(r"^configmap/c +0 +\d+s$", text, re.MULTILINE)
    assert re.search(r"^serviceaccount/robot +\d+s$", text, re.MULTILINE)
    assert kubectl("get", "cm/c", "sa/robot", "-o", "name") == "configmap/c\nserviceaccount/robot\n"
    some = kubectl.run("get", "cm", "c", "none")
    assert some.stdout.splitlines()[1].split()[0] == "c"
    assert some.stderr == 'Error from server (NotFound): configmaps "none" not found\n'
    assert kubectl("get", "cm", "none", "--ignore-not-found") == ""
    assert 'the server doesn\'t have a resource type "nope"' in kubectl.fails("get", "cm,nope")
    advice = kubectl.run("get", "endpoints").stderr
    assert "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice" in advice


def test_watches_tell_what_happened(kubectl: "Kubectl") -> None:
    kubectl("create", "configmap", "c")
    with kubectl.beside("get", "cm", "c", "--watch", "--output-watch-events", "--no-headers") as watch:
        assert watch.stdout.readline().split()[:3] == ["ADDED", "c", "0"]
        kubectl("patch", "cm", "c", "-p", '{"data":{"a":"1"}}')
        assert watch.stdout.readline().split()[:3] == ["MODIFIED", "c", "1"]
        kubectl("delete", "cm", "c")
        assert watch.stdout.readline().split()[:3] == ["DELETED", "c", "1"]


def test_watches_of_the_future_alone(kubectl: "Kubectl") -> None:
    kubectl("create", "configmap", "old")
    words = ("get", "cm", "--watch-only", "-o", 'jsonpath={.metadata.name}{"\\n"}', "-l", "new")
    with kubectl.beside(*words) as watch:
        # Its beginning cannot be seen from outside: so long are new ones made until one is told of.
        for number in range(100):
            text = json.dumps(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"n{number}", "labels": {"new": ""}}}
            )
            kubectl("create", "-f", "-", stdin=text)
            if number == 4:
                break
        assert re.fullmatch(r"n\d+\n", watch.stdout.readline())


def test_events(kubectl: "Kubectl") -> None:
    kubectl.pod("web", {"name": "main", "command": ["sleep", "1000"]})
    told = kubectl("events", "--for=pod/web", "--types=Normal", "--no-headers").splitlines()
    assert {line.split()[2] for line in told} == {"Scheduled", "Pulled", "Created", "Started"}
    none = kubectl("events", "--types=Warning", "--for=pod/web")
    assert none == ""
    selected = ("get", "events", "--field-selector", "involvedObject.name=web,reason=Started", "-o")
    assert kubectl(*selected, "jsonpath={.items[*].reason}") == "Started"
    assert kubectl(*selected, "jsonpath={.items[*].involvedObject.fieldPath}") == "spec.containers{main}"
    described = kubectl("describe", "pod", "web")
    assert re.search(r"Normal +Scheduled +\S+ +default-scheduler +Successfully assigned", described)
    assert "Events:" not in kubectl("describe", "pod", "web", "--show-events=false")
