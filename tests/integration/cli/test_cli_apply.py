"""apply and create: what they say, what is then there, and that nothing else is."""

import pytest

from .conftest import Cli

CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  color: blue
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{port: 80}]
"""


def data(cli: Cli, name: str = "settings") -> object:
    return cli.json("configmap", name).get("data")


def test_apply_says_what_it_did(cli: Cli) -> None:
    assert cli.apply(CONFIG).out == "configmap/settings created\n"
    assert cli.apply(CONFIG).out == "configmap/settings unchanged\n"
    assert cli.apply(CONFIG.replace("blue", "red")).out == "configmap/settings configured\n"
    assert data(cli) == {"color": "red"}


def test_apply_takes_documents_in_order_from_stdin(cli: Cli) -> None:
    result = cli("apply", "-f", "-", stdin=f"{CONFIG}---\n{SERVICE}---\n").ok()
    assert result.out == "configmap/settings created\nservice/web created\n"


def test_apply_takes_a_directory(cli: Cli) -> None:
    cli.file(CONFIG, "all/b.yaml")
    cli.file(SERVICE, "all/a.yml")
    cli.file("not a manifest", "all/README.txt")
    cli.file(CONFIG.replace("settings", "deep"), "all/more/c.json.yaml")
    folder = str(cli.directory / "all")
    assert cli("apply", "-f", folder).ok().out == "service/web created\nconfigmap/settings created\n"
    assert "configmap/deep created" in cli("apply", "-R", "-f", folder).ok().out


def test_apply_takes_lists_and_json(cli: Cli) -> None:
    items = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},"data":{"a":"1"}}'
    text = f'{{"apiVersion":"v1","kind":"List","items":[{items % "one"},{items % "two"}]}}'
    assert cli("apply", "-f", "-", stdin=text).ok().out == "configmap/one created\nconfigmap/two created\n"


def test_apply_removes_what_was_removed_and_keeps_what_others_set(cli: Cli) -> None:
    cli.apply(CONFIG + "  size: big\n")
    others = CONFIG.replace("color: blue", "shape: round")
    replaced = cli.apply(others)
    assert replaced.out == "configmap/settings configured\n"
    assert data(cli) == {"shape": "round"}


def test_scaled_replicas_stay_when_the_manifest_does_not_name_them(cli: Cli) -> None:
    deployment = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "img:1"}], terminationGracePeriodSeconds: 0}
"""
    cli.apply(deployment)
    cli("scale", "deployment/web", "--replicas", "3").ok()
    assert cli.apply(deployment.replace("img:1", "img:2")).out == "deployment.apps/web configured\n"
    assert cli("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}").out == "3"


@pytest.mark.parametrize(("mode", "suffix"), [("client", " (dry run)"), ("server", " (server dry run)")])
def test_dry_run_stores_nothing(cli: Cli, mode: str, suffix: str) -> None:
    path = cli.file(CONFIG)
    assert cli("apply", "-f", path, f"--dry-run={mode}").ok().out == f"configmap/settings created{suffix}\n"
    assert cli("create", "-f", path, f"--dry-run={mode}").ok().out == f"configmap/settings created{suffix}\n"
    assert cli("get", "cm", "settings").code == 1
    cli.apply(CONFIG)
    changed = cli.file(CONFIG.replace("blue", "red"))
    assert cli("apply", "-f", changed, f"--dry-run={mode}").ok().out == f"configmap/settings configured{suffix}\n"
    assert data(cli) == {"color": "blue"}


def test_apply_prints_the_object_when_asked(cli: Cli) -> None:
    path = cli.file(CONFIG)
    assert cli("apply", "-f", path, "-o", "name").ok().out == "configmap/settings\n"
    assert "color: blue" in cli("apply", "-f", path, "-o", "yaml").ok().out


def test_create_makes_names_and_refuses_what_exists(cli: Cli) -> None:
    generated = CONFIG.replace("name: settings", "generateName: settings-")
    first, second = (cli("create", "-f", "-", stdin=generated).ok().out for _ in range(2))
    assert first.startswith("configmap/settings-")
    assert first != second
    cli("create", "-f", "-", stdin=CONFIG).ok()
    again = cli("create", "-f", cli.file(CONFIG))
    assert again.code == 1
    assert 'manifest.yaml:1: document 1, ConfigMap "settings"' in again.err
    assert 'configmaps "settings" already exists' in again.err


def test_apply_needs_a_name(cli: Cli) -> None:
    result = cli("apply", "-f", cli.file(CONFIG.replace("name: settings", "generateName: settings-")))
    assert result.code == 1
    assert "metadata.name is required here" in result.err


def test_namespace_of_manifest_and_command_line_must_agree(cli: Cli) -> None:
    result = cli("apply", "-f", cli.file(CONFIG.replace("name: settings", "name: settings\n  namespace: default")))
    assert result.code == 1
    assert "metadata.namespace is default, the command line says" in result.err


def test_namespace_comes_from_the_manifest(cli: Cli) -> None:
    text = CONFIG.replace("name: settings", f"name: settings\n  namespace: {cli.namespace}")
    cli("apply", "-f", cli.file(text), namespace="").ok()
    assert data(cli) == {"color": "blue"}


def test_as_a_process(cli: Cli) -> None:
    assert cli.process("apply", "-f", "-", input=CONFIG).ok().out == "configmap/settings created\n"
    assert cli.process("get", "cm/settings", "-o", "jsonpath={.data.color}").ok().out == "blue"
    assert cli.process("get", "cm/other").code == 1
