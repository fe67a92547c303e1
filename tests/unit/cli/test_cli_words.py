"""What command lines mean, before any cluster is asked."""

import pytest

from navarch.cli import durations, targets
from navarch.cli.commands.image import human_size
from navarch.cli.commands.wait import parse_condition
from navarch.cli.errors import UsageError
from navarch.cli.main import options_behind_verb, plain_flags
from navarch.cli.output.printing import parse_output


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("90", 90), ("1.5", 1.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("1m0.5s", 60.5)],
)
def test_durations(text: str, expected: float) -> None:
    assert durations.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-1", "5d", "m5", "1h30", "1e3", "٣s"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"--timeout .* is not a duration"):
        durations.seconds(text)


def test_no_limit() -> None:
    assert durations.limit("0") is None
    assert durations.limit("1s") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pods"], ["pod/"]),
        (["po"], ["pod/"]),
        (["Pod", "a", "b"], ["pod/a", "pod/b"]),
        (["deploy/web", "svc/web"], ["deployment.apps/web", "service/web"]),
        (["deployments.apps", "web"], ["deployment.apps/web"]),
        (["deployment.v1.apps/web"], ["deployment.apps/web"]),
        (["pods,services"], ["pod/", "service/"]),
        (["po,svc", "web"], ["pod/web", "service/web"]),
    ],
)
def test_targets(words: list[str], expected: list[str]) -> None:
    assert [str(target) for target in targets.parse(words)] == expected


def test_all_is_a_category() -> None:
    assert {target.kind.kind for target in targets.parse(["all"])} >= {"Pod", "Service", "Deployment", "ReplicaSet"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name what you mean"),
        ([","], "names no type"),
        (["pods/a", "b"], "where one word is TYPE/NAME, all are"),
        (["pods/"], "where one word is TYPE/NAME, all are"),
        (["a/b/c"], "where one word is TYPE/NAME, all are"),
        (["gizmos"], 'doesn\'t have a resource type "gizmos"$'),
        (["pdos"], 'did you mean "pods"'),
    ],
)
def test_targets_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        targets.parse(words)


def test_one_target() -> None:
    assert str(targets.parse_one(["web"])) == "pod/web"
    assert str(targets.parse_one(["web"], default="deployment")) == "deployment.apps/web"
    assert str(targets.parse_one(["deploy", "web"])) == "deployment.apps/web"
    for words in (["pods", "a", "b"], ["pod/a", "pod/b"]):
        with pytest.raises(UsageError, match="name one object"):
            targets.parse_one(words)


def test_namespace_of_a_target() -> None:
    pod, node = targets.parse(["pod/a", "node/b"])
    assert pod.within("web").namespace == "web"
    assert node.within("web").namespace == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("get pods -n web", "get pods -n web"),
        ("-n web get pods", "get -n web pods"),
        ("--namespace=web --kubeconfig f get pods", "get --namespace=web --kubeconfig f pods"),
        ("-n web rollout status deploy/x", "rollout status -n web deploy/x"),
        ("-n web exec x -- ls", "exec -n web x -- ls"),
        ("-n", "-n"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_options_before_the_verb(words: str, expected: str) -> None:
    assert options_behind_verb(words.split()) == expected.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("delete --wait=false x", "delete --no-wait x"),
        ("delete --wait=true x", "delete --wait x"),
        ("delete --all=true x", "delete --all x"),
        ("delete --all=false x", "delete x"),
        ("get --sort-by=true", "get --sort-by=true"),
        ("exec x -- prog --wait=false", "exec x -- prog --wait=false"),
    ],
)
def test_flags_with_values(words: str, expected: str) -> None:
    assert plain_flags(words.split(), {"--wait": "--no-wait", "--all": ""}) == expected.split()


READY = {"type": "Ready", "status": "True"}


def observed(generation: int, of: int) -> dict[str, object]:
    return {"metadata": {"generation": of}, "status": {"observedGeneration": generation, "conditions": [READY]}}


@pytest.mark.parametrize(
    ("condition", "document", "expected"),
    [
        ("condition=Ready", {"status": {"conditions": [READY]}}, True),
        ("condition=ready=TRUE", {"status": {"conditions": [READY]}}, True),
        ("condition=Ready=false", {"status": {"conditions": [READY]}}, False),
        ("condition=Ready", {"status": {"conditions": []}}, False),
        ("condition=Ready", {"data": {}}, False),
        (
            "condition=Ready",
            {"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "conditions": [READY]}},
            False,
        ),
        (
            "condition=Ready",
            {"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "conditions": [READY]}},
            True,
        ),
        ("jsonpath={.status.phase}=Running", {"status": {"phase": "Running"}}, True),
        ("jsonpath='{.status.phase}'=Running", {"status": {"phase": "Running"}}, True),
        ("jsonpath=.status.phase=Running", {"status": {"phase": "Pending"}}, False),
        ("jsonpath={.status.count}=3", {"status": {"count": 3}}, True),
        ("jsonpath={.status.ip}", {"status": {}}, False),
        ("jsonpath={.status.ip}", {"status": {"ip": "10.0.0.1"}}, True),
        ("jsonpath={.status.conditions[?(@.type=='Ready')].status}=True", {"status": {"conditions": [READY]}}, True),
        ("jsonpath={.status.conditions[?(@.type=='Ready')]}", {"status": {"conditions": [READY]}}, True),
        ("create", {}, True),
    ],
)
def test_conditions_to_wait_for(condition: str, document: dict[str, object], expected: bool) -> None:
    assert parse_condition(condition)({"metadata": {}, **document}) is expected


@pytest.mark.parametrize("text", ["", "Ready", "condition", "condition=", "jsonpath=", "delete=now", "jsonpath={.a"])
def test_conditions_refused(text: str) -> None:
    with pytest.raises(UsageError, match="accepted are"):
        parse_condition(text)


def test_output_formats() -> None:
    assert parse_output("jsonpath={.a=b}") == ("jsonpath", "{.a=b}")
    assert parse_output("wide") == ("wide", "")
    for text in ("json=x", "jsonpath", "jsonpath=", "custom-columns", "JSON", "=x"):
        with pytest.raises(UsageError, match="accepted are"):
            parse_output(text)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (4_200_000, "4.2MB"), (1.5e15, "1.5e+03TB")]
)
def test_sizes(size: float, expected: str) -> None:
    assert human_size(size) == expected
