"""What differs between two states of an object, in words and as a diff."""

import pytest

from navarch.cli.output.changes import in_short, print_diff, unified
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec import from_json


def pod(**fields) -> corev1.Pod:
    metadata = {"name": "web", **fields.pop("metadata", {})}
    return from_json({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **fields})


def ready(status: str) -> dict:
    return {"conditions": [{"type": "Other", "status": "True"}, {"type": "Ready", "status": status}]}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        pytest.param({}, {"metadata": {"labels": {"a": "b"}}}, "+metadata.labels", id="a map begins"),
        pytest.param(
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"labels": {"a": "b", "c": "d"}}},
            "+metadata.labels.c=d",
            id="added",
        ),
        pytest.param({"spec": {"nodeName": "n"}}, {}, "-spec.nodeName", id="removed"),
        pytest.param(
            {"status": {"phase": "Pending"}},
            {"status": {"phase": "Running"}},
            "status.phase=Pending->Running",
            id="value",
        ),
        pytest.param(
            {"status": ready("False")},
            {"status": ready("True")},
            "status.conditions[Ready].status=False->True",
            id="in a list",
        ),
        pytest.param(
            {"spec": {"containers": [{"name": "a"}]}},
            {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}},
            "spec.containers",
            id="a longer list",
        ),
        pytest.param(
            {"status": {"message": "x" * 50}}, {"status": {"message": "y" * 50}}, "status.message", id="a long value"
        ),
        pytest.param({}, {"metadata": {"resourceVersion": "5"}}, "nothing", id="only the version"),
        pytest.param(
            {"spec": {"nodeName": "1", "hostname": "2"}, "status": {"phase": "3", "message": "4", "reason": "5"}},
            {"spec": {"nodeName": "a", "hostname": "b"}, "status": {"phase": "c", "message": "d", "reason": "e"}},
            "spec.hostname=2->b; spec.nodeName=1->a; status.message=4->d; 2 more",
            id="many",
        ),
    ],
)
def test_in_short(before, after, words):
    assert in_short(pod(**before), pod(**after)) == words


def test_beginning_and_end():
    assert in_short(None, pod()) == "created"
    assert in_short(pod(), None) == "deleted"


def test_a_diff():
    lines = unified(pod(spec={"nodeName": "a"}), pod(spec={"nodeName": "b"}), "one", "two")
    assert lines[:2] == ["--- one", "+++ two"]
    assert {"-  nodeName: a", "+  nodeName: b"} <= set(lines)
    assert unified(pod(), pod(metadata={"resourceVersion": "7"}), "one", "two") == []
    assert all(line.startswith("+") for line in unified(None, pod(), "one", "two")[3:])


def test_colours_are_for_terminals(capsys):
    print_diff(["--- one", "+++ two", "-a", "+[b]"], coloured=False)
    assert capsys.readouterr().out == "--- one\n+++ two\n-a\n+[b]\n"
    print_diff(["+[b]"], coloured=True)
    assert "+[b]" in capsys.readouterr().out
