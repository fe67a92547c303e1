"""meta/v1 Tables, columns of custom resources, and the JSONPaths that find their cells."""

import orjson
import pytest

from navarch.protos.navarch.objects_pb2 import CustomObject
from navarch.services.api import jsonpath
from navarch.services.api.codec import from_json
from navarch.services.api.custom.versions import Column
from navarch.services.api.kinds import KINDS
from navarch.services.api.printers.custom import custom_table
from navarch.services.api.printers.tables import table_of

NOW = 1_700_003_600.0
CREATED = "2023-11-14T22:13:20Z"
POD = KINDS.find("pod")


def pod(name: str, phase: str = "Running"):
    metadata = {"name": name, "resourceVersion": "7", "creationTimestamp": CREATED}
    return from_json({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}})


def test_a_table_of_one_object():
    table = table_of(POD, [pod("a")], NOW)
    assert (table["kind"], table["apiVersion"], table["metadata"]) == (
        "Table",
        "meta.k8s.io/v1",
        {"resourceVersion": "7"},
    )
    first = table["columnDefinitions"][0]
    assert first == {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
    (row,) = table["rows"]
    assert row["cells"][:5] == ["a", "0/0", "Running", "0", "60m"]
    assert len(row["cells"]) == len(table["columnDefinitions"])
    assert (row["object"]["kind"], row["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert row["object"]["metadata"]["name"] == "a"
    assert "conditions" not in row
    orjson.dumps(table)


@pytest.mark.parametrize(
    ("include", "kind"), [("Metadata", "PartialObjectMetadata"), ("Object", "Pod"), ("None", None)]
)
def test_what_rows_carry(include, kind):
    for row in table_of(POD, [pod("a"), pod("b")], NOW, include)["rows"]:
        assert (row["object"] and row["object"]["kind"]) == kind


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_have_ended_say_so(phase):
    (row,) = table_of(POD, [pod("a", phase)], NOW)["rows"]
    (condition,) = row["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Completed", "True", phase)


def test_of_nothing():
    table = table_of(POD, [], NOW)
    assert (table["rows"], table["metadata"]) == ([], {})


def custom(content: dict):
    made = CustomObject(api_version="example.com/v1", kind="Thing", content=orjson.dumps(content))
    made.metadata.name = "x"
    made.metadata.creation_timestamp.seconds = int(NOW) - 3600
    return made


@pytest.mark.parametrize(
    ("type", "path", "expected"),
    [
        ("string", ".spec.text", "hello"),
        ("string", ".spec.number", "3"),
        ("string", ".spec.list", "[1,2]"),
        ("string", ".spec.flag", "true"),
        ("string", ".spec.missing", None),
        ("string", ".kind", "Thing"),
        ("integer", ".spec.number", 3),
        ("integer", ".spec.float", 1),
        ("integer", ".spec.text", None),
        ("integer", ".spec.flag", None),
        ("number", ".spec.number", 3.0),
        ("boolean", ".spec.flag", True),
        ("boolean", ".spec.text", None),
        ("date", ".metadata.creationTimestamp", "60m"),
        ("date", ".spec.date", "60s"),
        ("date", ".spec.text", "<invalid>"),
        ("date", ".spec.empty", "<unknown>"),
        ("date", ".spec.number", None),
        ("string", '.status.conditions[?(@.type=="Ready")].status', "False"),
        ("string", ".spec[", None),
    ],
)
def test_cells_of_custom_columns(type, path, expected):
    spec = {"text": "hello", "number": 3, "float": 1.9, "flag": True, "list": [1, 2], "empty": ""}
    conditions = [{"type": "Other", "status": "True"}, {"type": "Ready", "status": "False"}]
    one = custom({"spec": {**spec, "date": "2023-11-14T23:12:20Z"}, "status": {"conditions": conditions}})
    table = custom_table((Column("C", type, path, priority=1, description="d"),))
    assert [(column.name, column.type, column.priority) for column in table.columns] == [
        ("Name", "string", 0),
        ("C", type, 1),
    ]
    name, cell = table.row(one, NOW)
    assert (name, cell) == ("x", expected)
    assert cell is None or isinstance(expected, cell.__class__)


def test_custom_kinds_without_columns_show_their_age():
    table = custom_table(())
    assert [(column.name, column.type) for column in table.columns] == [("Name", "string"), ("Age", "date")]
    assert table.row(custom({}), NOW) == ["x", "60m"]


DOCUMENT = {"a": {"b-c": [1, 2, {"type": "Ready", "is": True}], "x.y/z": 3, "n": None}, "é": 4}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.x\\.y/z", [3]),
        ("a['x.y/z']", [3]),
        ("{.a.b-c[0]}", [1]),
        ("$.a.b-c[-1].type", ["Ready"]),
        (".a.b-c[*]", DOCUMENT["a"]["b-c"]),
        (".a.b-c[0:2]", [1, 2]),
        ('.a.b-c[?(@.type=="Ready")].is', [True]),
        ("..type", ["Ready"]),
        (".a.n", [None]),
        (".a.n.x", []),
        (".a.b-c.x", []),
        (".q.r", []),
        ("@", [DOCUMENT]),
        ("", [DOCUMENT]),
    ],
)
def test_paths(path, found):
    assert jsonpath.find(path, DOCUMENT) == found


@pytest.mark.parametrize("path", [".a[", ".a..[", "a b", ".a[?(", "]"])
def test_what_is_no_path(path):
    with pytest.raises(jsonpath.PathError):
        jsonpath.find(path, DOCUMENT)
