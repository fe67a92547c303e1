"""Manifests: documents, places in errors, and what YAML means."""

from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.manifest import Document, ManifestError, load
from navarch.services.api.yaml_text import DEPTH_LIMIT, YamlError, parse

MANY = """# a comment before everything
---
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
data:
  answer: "yes"
---
# only a comment
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: three
---
apiVersion: v1
kind: Pod
metadata:
  name: typo
spec:
  containers:
  - name: c
    imag: busybox
  restartPolicie: Never
--- # the next one is broken
a: [1
---
apiVersion: v9
kind: Pot
metadata: {name: what}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: last}
"""


def _errors(documents: list[Document]) -> list[str]:
    return [str(document.error) for document in documents if document.error]


def test_a_bad_document_spoils_only_itself() -> None:
    documents = load(MANY, "app.yaml")
    assert [document.index for document in documents] == [1, 2, 3, 4, 5, 6]
    assert [document.message is not None for document in documents] == [True, False, False, False, False, True]
    assert _errors(documents) == [
        'app.yaml:16:3: document 2, Deployment "web": spec.replicas: found string "three", expected int32',
        'app.yaml:25:5: document 3, Pod "typo": unknown field "spec.containers[0].imag", '
        'unknown field "spec.restartPolicie"',
        "app.yaml:29:1: document 4: did not find expected ',' or ']' while parsing a flow sequence from line 28",
        'app.yaml:30:1: document 5, Pot "what": no matches for kind "Pot" in version "v9"',
    ]
    assert (documents[0].line, documents[5].line) == (3, 34)
    assert isinstance(documents[0].object, corev1.ConfigMap)
    error = documents[1].error
    assert error is not None
    assert (error.document, error.subject, error.field) == (2, 'Deployment "web"', "spec.replicas")
    with pytest.raises(ManifestError):
        _ = documents[1].object


LIST = """apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: p}
- apiVersion: v1
  kind: Service
  metadata: {name: s}
  spec:
    ports:
    - targetPort: yes
- 5
"""


def test_lists_stand_for_their_items() -> None:
    documents = load(LIST, "list.yaml")
    assert [document.index for document in documents] == [1, 1, 1]
    assert _errors(documents) == [
        'list.yaml:12:7: document 1, Service "s": spec.ports[0].targetPort: found boolean true, '
        "expected int32 or string",
        "list.yaml:13:3: document 1: found number 5, expected an object",
    ]
    named = load('{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"a"}}]}')
    assert isinstance(named[0].object, corev1.Pod)
    assert named[0].value == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}


JSON = """{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "\\ud83d\\ude00"}}
{
\t"kind": "Pod", "apiVersion": "v1",
\t"metadata": {"name": 5}
}
{"kind": "Pod", "kind": "Pod"}
"""


def test_json_streams() -> None:
    documents = load(JSON, "x.json")
    assert isinstance(documents[0].object, corev1.Pod)
    assert documents[0].object.metadata.name == "\U0001f600"
    assert _errors(documents) == [
        "x.json:4:15: document 1, Pod: metadata.name: found number 5, expected string",
        'x.json:6:1: document 1: invalid JSON: key "kind" already set in object',
    ]


EMPTY = ["", "\n", "# nothing\n", "---\n---\n", "--- # a\n...\n", "%YAML 1.1\n---\n", "\ufeff", "null", "~"]


@pytest.mark.parametrize("text", EMPTY)
def test_nothing_in_it(text: str) -> None:
    assert load(text) == []


BAD: list[tuple[str | bytes, str]] = [
    (b"kind: \xff", "stdin:1:1: document 1: the text is not UTF-8: invalid start byte"),
    (b"a: 1\nb: \xc3", "stdin:2:1: document 1: the text is not UTF-8: unexpected end of data"),
    ("a: 1\nb: \x00", "stdin:2:1: document 1: control characters are not allowed"),
    ("a: b: c", "stdin:1:5: document 1: mapping values are not allowed in this context"),
    (
        "a: 1\n\tb: 2",
        "stdin:2:1: document 1: found a tab character that violates indentation "
        "while scanning a plain scalar from line 1",
    ),
    ("a: *x", "stdin:1:4: document 1: unknown anchor 'x' referenced"),
    ("a: !!python/object 1", "stdin:1:4: document 1: cannot read '1' as tag:yaml.org,2002:python/object"),
    ("a: !custom [1]", "stdin:1:4: document 1: unsupported tag !custom"),
    ("a: .nan", "stdin:1:4: document 1: .nan is not a JSON number"),
    ("a: -.inf", "stdin:1:4: document 1: -.inf is not a JSON number"),
    ("a: 1e999", "stdin:1:4: document 1: 1e999 is out of range"),
    ("a: " + "9" * 5000, "stdin:1:4: document 1: the number has too many digits"),
    ("[a]: 1", "stdin:1:1: document 1: a map's key has to be a string"),
    ("~: 1", "stdin:1:1: document 1: a map's key has to be a string"),
    ("a: 1\nb:\n  c: 1\n  c: 2", 'stdin:4:3: document 1: key "c" already set in map'),
    ("<<: 1", "stdin:1:1: document 1: map merge requires map or sequence of maps as the value"),
    ("- 1", "stdin:1:1: document 1: found array of 1, expected an object"),
    ("text", 'stdin:1:1: document 1: found string "text", expected an object'),
    ("a: 1", "stdin:1:1: document 1: Object 'Kind' is missing"),
    ("kind: Pod", "stdin:1:1: document 1, Pod: Object 'apiVersion' is missing"),
    ("kind: 5\napiVersion: v1", "stdin:1:1: document 1: kind: found number 5, expected string"),
    ('{"a": ', "stdin:2:1: document 1: did not find expected node content"),
    ("a: 1\r---\rb: 2", "stdin:2:1: document 1: a second document starts without '---' at the start of a line"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=lambda value: str(value)[:30])
def test_bad_text(text: str | bytes, message: str) -> None:
    assert _errors(load(text)) == [message]


MEANINGS: list[tuple[str, Any]] = [
    ("yes", True),
    ("Off", False),
    ("y", True),
    ("N", False),
    ("'yes'", "yes"),
    ("!!str yes", "yes"),
    ("! 12", "12"),
    ("~", None),
    ("", None),
    ("null", None),
    ("Yes please", "Yes please"),
    ("0644", 420),
    ("0o644", 420),
    ("0x1F", 31),
    ("-0b11", -3),
    ("1_000", 1000),
    ("+12", 12),
    ("089", 89),
    ("3.0", 3),
    ("1e3", 1000),
    ("1.5e-3", 0.0015),
    (".5", 0.5),
    ("1.", 1),
    ("!!float 3", 3),
    ("12:30:45", "12:30:45"),
    ("2024-01-01", "2024-01-01"),
    ("1.2.3", "1.2.3"),
    ("0x", "0x"),
    (".", "."),
    ("-", [None]),
    ("1Gi", "1Gi"),
    ("9223372036854775808", 2**63),
    ("|\n  a\n  b\n", "a\nb\n"),
    ("{1: a, true: b, 1.5: c}", {"1": "a", "true": "b", "1.5": "c"}),
    (
        "{a: &x {k: 1, l: 2}, b: {<<: *x, l: 3}, c: *x}",
        {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}, "c": {"k": 1, "l": 2}},
    ),
    ("{<<: [{a: 1}, {a: 2, b: 2}], c: 3}", {"a": 1, "b": 2, "c": 3}),
    ("{'<<': 1}", {"<<": 1}),
    ("{&k key: 1, other: *k}", {"key": 1, "other": "key"}),
]


@pytest.mark.parametrize(("text", "value"), MEANINGS, ids=lambda value: str(value)[:30])
def test_what_plain_text_means(text: str, value: Any) -> None:
    found = parse(text).value
    assert found == value
    assert type(found) is type(value)


BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("text", [BILLION, "- " * 100_000, "[" * 100_000, "{a: " * 100_000, "? " * 10_000])
def test_hostile_text_is_refused_soon(text: str) -> None:
    with pytest.raises(YamlError):
        parse(text)


def test_depth_within_reason_is_fine() -> None:
    assert parse("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT).value


def test_the_last_line_of_a_block_keeps_its_end_before_a_separator() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    text\n---\n"
    assert load(text)[0].object == corev1.ConfigMap(data={"a": "text\n"})


def test_windows_line_ends() -> None:
    documents = load("apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: a\r\n---\r\nkind: Pod\r\n")
    assert isinstance(documents[0].object, corev1.Pod)
    assert _errors(documents) == ["stdin:6:1: document 2, Pod: Object 'apiVersion' is missing"]
