"""get: tables, formats, selections, watches."""

import re
import signal

import orjson
import pytest
import yaml

from .conftest import Cli

PODS = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: web, tier: "{tier}", example.com/part-of: shop}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: registry.example/web:1
    ports: [{{containerPort: 80}}]
  - name: side
    image: registry.example/side:1
---
"""
TWO = PODS.format(name="one", tier="front") + PODS.format(name="two", tier="back")


@pytest.fixture
def pods(cli: Cli) -> Cli:
    cli.apply(TWO)
    cli("wait", "--for=condition=Ready", "pod", "--all").ok()
    return cli


def test_table(pods: Cli) -> None:
    lines = pods("get", "pods").ok().out.splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[:3] for line in lines[1:]] == [["one", "2/2", "Running"], ["two", "2/2", "Running"]]
    wide = pods("get", "po", "-o", "wide").ok().out.splitlines()
    assert wide[0].split()[5:7] == ["IP", "NODE"]
    assert re.search(r"10\.244\.\d\.\d+ +node-[12]", wide[1])


def test_columns(pods: Cli) -> None:
    assert pods("get", "pods", "--no-headers").ok().out.count("\n") == 2
    labelled = pods("get", "pods", "-L", "tier,example.com/part-of").ok().out.splitlines()
    assert labelled[0].split()[-2:] == ["TIER", "PART-OF"]
    assert labelled[1].split()[-2:] == ["front", "shop"]
    assert "app=web" in pods("get", "pods", "--show-labels").ok().out
    assert pods("get", "pods", "--show-kind", "--no-headers").ok().out.startswith("pod/one ")
    everywhere = pods("get", "pods", "-A", "-l", "app=web", namespace="").ok().out.splitlines()
    assert everywhere[0].startswith("NAMESPACE ")
    assert any(line.startswith(pods.namespace) for line in everywhere)


def test_custom_columns_and_sorting(pods: Cli) -> None:
    columns = (
        "custom-columns=NAME:.metadata.name,TIER:.metadata.labels.tier,IMAGES:.spec.containers[*].image,NO:.spec.no"
    )
    table = pods("get", "pods", "--sort-by", ".metadata.labels.tier", "-o", columns).ok().out
    rows = [line.split() for line in table.splitlines()]
    assert rows == [
        ["NAME", "TIER", "IMAGES", "NO"],
        ["two", "back", "registry.example/web:1,registry.example/side:1", "<none>"],
        ["one", "front", "registry.example/web:1,registry.example/side:1", "<none>"],
    ]
    assert pods("get", "pods", "-o", "custom-columns=NAME").code == 1
    assert "not a single value" in pods("get", "pods", "--sort-by", ".metadata.labels").err


def test_documents(pods: Cli) -> None:
    one = pods("get", "pod", "one", "-o", "json").ok().out
    assert orjson.loads(one)["metadata"]["name"] == "one"
    assert orjson.loads(one)["apiVersion"] == "v1"
    listed = yaml.safe_load(pods("get", "pods", "-o", "yaml").ok().out)
    assert listed["kind"] == "List"
    assert [item["kind"] for item in listed["items"]] == ["Pod", "Pod"]
    assert pods("get", "pods", "-o", "name").ok().out == "pod/one\npod/two\n"
    assert orjson.loads(pods("get", "services", "-o", "json").ok().out)["items"] == []


def test_jsonpath(pods: Cli) -> None:
    for template, expected in {
        "{.items[*].metadata.name}": "one two",
        '{range .items[*]}{.metadata.name}{"\\t"}{.spec.containers[0].name}{"\\n"}{end}': "one\tmain\ntwo\tmain\n",
        "{.items[0].status.conditions[?(@.type=='Ready')].status}": "True",
        "{.items[0].metadata.labels.example\\.com/part-of}": "shop",
    }.items():
        assert pods("get", "pods", "-o", f"jsonpath={template}").ok().out == expected


def test_selections(pods: Cli) -> None:
    assert pods("get", "pods", "-l", "tier in (back,middle)", "-o", "name").ok().out == "pod/two\n"
    assert pods("get", "pods", "-l", "app=web,tier!=back", "-o", "name").ok().out == "pod/one\n"
    assert pods("get", "pods", "--field-selector", "metadata.name=two", "-o", "name").ok().out == "pod/two\n"
    assert pods("get", "pods", "--field-selector=status.phase=Failed", "-o", "name").ok().out == ""
    assert pods("get", "-f", pods.file(TWO), "-o", "name").ok().out == "pod/one\npod/two\n"
    several = pods("get", "pods,configmaps").ok().out
    assert "pod/one" in several
    assert "configmap/kube-root-ca.crt" in several
    assert (
        pods("get", "pod/one", "cm/kube-root-ca.crt", "-o", "name").ok().out == "pod/one\nconfigmap/kube-root-ca.crt\n"
    )
    assert "pod/one" in pods("get", "all").ok().out


def test_not_found(pods: Cli) -> None:
    result = pods("get", "pod", "one", "three", "two")
    assert result.code == 1
    assert result.err == 'Error from server (NotFound): pods "three" not found\n'
    assert [line.split()[0] for line in result.out.splitlines()] == ["NAME", "one", "two"]
    assert pods("get", "pod", "three", "--ignore-not-found").ok().out == ""


def test_nothing_there(cli: Cli) -> None:
    result = cli("get", "pods").ok()
    assert (result.out, result.err) == ("", f"No resources found in {cli.namespace} namespace.\n")
    assert cli("get", "pods", "-A", "-l", "no=such").ok().err == "No resources found\n"
    assert cli("get", "nodes", "-l", "no=such").ok().err == "No resources found\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get"], "name what you mean"),
        (["get", "foo"], 'doesn\'t have a resource type "foo"'),
        (["get", "deplyoments"], 'did you mean "deployments"?'),
        (["get", "pods", "-o", "toml"], "accepted are wide, name, yaml, json"),
        (["get", "pods", "-o", "jsonpath"], "accepted are"),
        (["get", "pods", "-o", "jsonpath={.items[}"], "jsonpath"),
        (["get", "pods", "-o", "jsonpath={range .items[*]}x"], "{range} without {end}"),
        (["get", "pods", "-o", "jsonpath={end}"], "{end} without {range}"),
        (["get", "pods", "-o", "jsonpath={.items"], "a brace is not closed"),
        (["get", "pods", "-l", "a in (b"], "unable to parse requirement"),
        (["get", "pods", "--field-selector", "spec.foo=bar"], "field label not supported"),
        (["get", "pod", "x", "-l", "a=b"], "exclude each other"),
        (["get", "pod", "x", "-A"], "-n NAMESPACE, not -A"),
        (["get", "pod/x", "y"], "where one word is TYPE/NAME, all are"),
    ],
)
def test_refused(cli: Cli, words: list[str], message: str) -> None:
    result = cli(*words)
    assert result.code == 1
    assert message in result.err


def test_watch_shows_changes_below_the_table(cli: Cli) -> None:
    with cli.start("get", "pods", "-w") as following:
        cli.apply(PODS.format(name="watched", tier="front"))
        lines = following.until(lambda line: "Running" in line)
        assert lines[0].split()[:3] == ["NAME", "READY", "STATUS"]
        assert lines[1].split()[0] == "watched"
        assert lines[-1].index("Running") == lines[0].index("STATUS")
        cli("delete", "pod", "watched").ok()
        following.process.send_signal(signal.SIGINT)
        _, err = following.process.communicate(timeout=20)
        assert (following.process.returncode, err) == (130, "")


def test_watch_of_one_object(cli: Cli) -> None:
    cli.apply(PODS.format(name="one", tier="front"))
    with cli.start("get", "pod/one", "-w", "-o", "jsonpath={.metadata.labels.tier}\n") as following:
        following.until(lambda line: line == "front")
        cli.apply(PODS.format(name="one", tier="back"))
        following.until(lambda line: line == "back")
