"""apply, diff and their options: what is pruned, what is told, what is refused."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.e2e.kubectl.conftest import Kubectl


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "x"}}, "data": data}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Manifests of the ConfigMaps one and two."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config_map(name, a="1")))
    return tmp_path


def test_an_apply_set_prunes_what_left_it(kubectl: "Kubectl", folder: Path) -> None:
    words = ("apply", "-f", str(folder), "--prune", "--applyset=mine")
    assert kubectl(*words, KUBECTL_APPLYSET="true") == "configmap/one created\nconfigmap/two created\n"
    parent = kubectl.json("secret", "mine")["metadata"]
    assert parent["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"
    assert parent["labels"]["applyset.kubernetes.io/id"].startswith("applyset-")
    (folder / "two.yaml").unlink()
    assert kubectl(*words, KUBECTL_APPLYSET="true") == "configmap/one unchanged\nconfigmap/two pruned\n"


@pytest.mark.parametrize("which", [("-l", "set=x"), ("--all",)], ids=["by label", "all"])
def test_prune_of_an_allowlist(kubectl: "Kubectl", folder: Path, which: tuple[str, ...]) -> None:
    kubectl("apply", "-f", str(folder))
    kubectl("create", "configmap", "by-hand")
    (folder / "one.yaml").unlink()
    words = ("apply", "-f", str(folder), "--prune", *which, "--prune-allowlist=core/v1/ConfigMap")
    assert kubectl(*words) == "configmap/two unchanged\nconfigmap/one pruned\n"
    assert kubectl("get", "cm", "by-hand", "-o", "name") == "configmap/by-hand\n"


def test_what_was_applied_last(kubectl: "Kubectl", folder: Path) -> None:
    path = str(folder / "one.yaml")
    kubectl("create", "-f", path)
    assert kubectl("apply", "view-last-applied", "cm/one") == ""
    done = kubectl("apply", "set-last-applied", "-f", path, "--create-annotation")
    assert done == "configmap/one configured\n"
    assert yaml.safe_load(kubectl("apply", "view-last-applied", "cm/one"))["data"] == {"a": "1"}
    edited = kubectl("apply", "edit-last-applied", "cm/one", KUBE_EDITOR="sed -i /set:/s/x/z/")
    assert edited == "configmap/one edited\n"
    assert kubectl.json("cm", "one")["metadata"]["labels"] == {"set": "x"}
    assert yaml.safe_load(kubectl("apply", "view-last-applied", "cm/one"))["metadata"]["labels"] == {"set": "z"}


def test_dry_runs_change_nothing(kubectl: "Kubectl", folder: Path) -> None:
    path = str(folder / "one.yaml")
    assert kubectl("apply", "-f", path, "--dry-run=server") == "configmap/one created (server dry run)\n"
    assert kubectl("apply", "-f", path, "--dry-run=client") == "configmap/one created (dry run)\n"
    server_side = kubectl("apply", "-f", path, "--server-side", "--dry-run=server")
    assert server_side == "configmap/one serverside-applied (server dry run)\n"
    assert "not found" in kubectl.fails("get", "cm", "one")


def test_a_diff_of_what_is_not_there(kubectl: "Kubectl", folder: Path) -> None:
    shown = kubectl("diff", "-f", str(folder / "one.yaml"), code=1)
    assert "+kind: ConfigMap" in shown
    kubectl("apply", "-f", str(folder / "one.yaml"))
    assert kubectl("diff", "-f", str(folder / "one.yaml")) == ""
    changed = json.dumps(config_map("one", a="2"))
    by_server = kubectl("diff", "--server-side", "--force-conflicts", "-f", "-", stdin=changed, code=1)
    assert '+  a: "2"' in by_server


def test_fields_that_nobody_knows(kubectl: "Kubectl") -> None:
    unknown = json.dumps({**config_map("bad"), "dta": {}})
    refusal = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta"'
    assert kubectl.fails("create", "-f", "-", stdin=unknown) == (
        f'Error from server (BadRequest): error when creating "STDIN": {refusal}\n'
    )
    warned = kubectl.run("create", "-f", "-", "--validate=warn", stdin=unknown)
    assert (warned.stdout, warned.stderr) == ("configmap/bad created\n", 'Warning: unknown field "dta"\n')
    kubectl("create", "-f", "-", "--validate=ignore", stdin=unknown.replace("bad", "ignored"))
    patched = kubectl.fails("apply", "-f", "-", stdin=unknown)
    assert "The request is invalid: patch: Invalid value:" in patched
    assert 'strict decoding error: unknown field "dta"' in patched
    applied = kubectl.fails("apply", "--server-side", "-f", "-", stdin=unknown)
    assert "field not declared in schema" in applied


def test_three_way_merges(kubectl: "Kubectl") -> None:
    """What left the manifest goes, what others set stays."""
    kubectl.apply(config_map("c", mine="1", gone="1"))
    kubectl("patch", "cm", "c", "-p", '{"data":{"theirs":"1"}}')
    assert kubectl.apply(config_map("c", mine="2")) == "configmap/c configured\n"
    assert kubectl.json("cm", "c")["data"] == {"mine": "2", "theirs": "1"}


def test_lists_merge_by_key(kubectl: "Kubectl") -> None:
    kubectl.deployment("web", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "1"}])
    kubectl("set", "env", "deployment/web", "THEIRS=1")
    kubectl.deployment("web", env=[{"name": "B", "value": "2"}])
    shown = kubectl("set", "env", "deployment/web", "--list")
    assert shown.splitlines() == ["# Deployment web, container main", "B=2", "THEIRS=1"]


def test_owners_of_fields(kubectl: "Kubectl") -> None:
    """Two appliers share a field until one of them wants another value, or gives it up."""

    def apply(manager: str, *flags: str, **data: str) -> Any:
        text = json.dumps(config_map("c", **data))
        return kubectl.run("apply", "--server-side", f"--field-manager={manager}", *flags, "-f", "-", stdin=text)

    assert apply("one", a="1", b="1").stdout == "configmap/c serverside-applied\n"
    assert apply("two", a="1").returncode == 0
    conflict = apply("two", a="2")
    assert conflict.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "one": .data.a' in conflict.stderr
    assert apply("two", "--force-conflicts", a="2").returncode == 0
    # The first one gives b up, and does not own a any more.
    assert apply("one").returncode == 0
    assert kubectl.json("cm", "c")["data"] == {"a": "2"}
    assert apply("two").returncode == 0
    assert "data" not in kubectl.json("cm", "c")


def test_from_client_to_server_side(kubectl: "Kubectl") -> None:
    kubectl.apply(config_map("c", a="1", b="1"))
    text = json.dumps(config_map("c", a="2"))
    assert kubectl("apply", "--server-side", "-f", "-", stdin=text) == "configmap/c serverside-applied\n"
    assert kubectl.json("cm", "c")["data"] == {"a": "2"}
    managers = kubectl("get", "cm", "c", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}")
    assert managers == "kubectl kubectl-last-applied"


def test_a_kustomization_with_generators(kubectl: "Kubectl", folder: Path) -> None:
    kustomization = {"resources": ["one.yaml"], "configMapGenerator": [{"name": "made", "literals": ["k=v"]}]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**kustomization, "commonLabels": {"team": "red"}}))
    kubectl("apply", "-k", str(folder))
    names = kubectl("get", "cm", "-l", "team=red", "-o", "name").split()
    assert names[1] == "configmap/one"
    assert names[0].startswith("configmap/made-")
    assert kubectl("diff", "-k", str(folder)) == ""
    assert kubectl("delete", "-k", str(folder)).count("deleted") == 2
