from typing import Any

import pytest

from navarch.cli.errors import UsageError
from navarch.cli.output import jsonpath

DOCUMENT: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "one", "labels": {"example.com/part-of": "shop", "pod-template-hash": "abc"}},
            "spec": {"containers": [{"name": "main", "ports": [{"containerPort": 80}]}, {"name": "side"}]},
            "status": {"ready": True, "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]},
        },
        {"metadata": {"name": "two", "labels": {}}, "data": {"tls.crt": "PEM"}, "nothing": None},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.kind}", "List"),
        (".kind", "List"),
        ("{$.kind}", "List"),
        ("{.items[*].metadata.name}", "one two"),
        ("{.items[0].metadata.name}", "one"),
        ("{.items[-1].metadata.name}", "two"),
        ("{.items[-1:].metadata.name}", "two"),
        ("{.items[1:].metadata.name}", "two"),
        ("{.items[0:2].metadata.name}", "one two"),
        ("{..name}", "one main side two"),
        ("{.items[0].metadata.labels.example\\.com/part-of}", "shop"),
        ("{.items[0].metadata.labels['example.com/part-of']}", "shop"),
        ("{.items[0].metadata.labels['example\\.com/part-of']}", "shop"),
        ("{.items[0].metadata.labels.pod-template-hash}", "abc"),
        ("{.items[1].data.tls\\.crt}", "PEM"),
        ('{.items[?(@.metadata.name=="two")].data}', '{"tls.crt":"PEM"}'),
        ("{.items[?(@.metadata.name=='one')].status.ready}", "true"),
        ("{.items[0].status.conditions[?(@.type=='Ready')].status}", "True"),
        ("{.items[0].spec.containers[0].ports[0].containerPort}", "80"),
        ("{.items[?(@.nosuch)].metadata.name}", ""),
        ("{.items[0].metadata.nosuch}", ""),
        ("{.nosuch[0].deep}", ""),
        ("name: {.items[0].metadata.name}!", "name: one!"),
        ("{.items[0].metadata.name}{'\\t'}{.kind}{\"\\n\"}", "one\tList\n"),
        ("{range .items[*]}{.metadata.name}{','}{end}", "one,two,"),
        ("{range .items[*]}{$.kind}/{@.metadata.name} {end}", "List/one List/two "),
        ("{range .items[*]}{range .spec.containers[*]}{.name};{end}|{end}", "main;side;||"),
        ("no path at all {'}'}", "no path at all }"),
        ("{.items[1].nothing}", "null"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    assert jsonpath.render(template, DOCUMENT) == expected


@pytest.mark.parametrize(
    "template",
    ["{.items[}", "{range .items[*]}x", "{end}", "{.items", "{.a.[b}", "{[?(}", "{'unclosed}", "{..}", "{'\\x'}"],
)
def test_templates_that_cannot_be_read(template: str) -> None:
    with pytest.raises(UsageError, match="jsonpath"):
        jsonpath.render(template, DOCUMENT)


def test_values_of_a_bare_path() -> None:
    assert jsonpath.values(".items[*].metadata.name", DOCUMENT) == ["one", "two"]
    assert jsonpath.values("{.kind}", DOCUMENT) == ["List"]
    assert jsonpath.values("kind", DOCUMENT) == ["List"]
