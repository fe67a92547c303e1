"""What follows from a CustomResourceDefinition: kinds, names, strategy, ownership, conversion, scale."""

from typing import Any

import orjson
import pytest

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api import codec
from navarch.services.api.codec import StrictError
from navarch.services.api.custom import conversion, names, objects, paths
from navarch.services.api.custom.structural import ABSENT
from navarch.services.api.custom.versions import custom_kinds, version_order
from navarch.services.api.errors import BadRequest, InternalError
from navarch.services.api.fields import FieldSelector, supported_fields
from navarch.services.api.kinds import KINDS, Kind, KindTable
from navarch.services.api.managed_fields.schema import DEDUCED, LEAF, SET, Form
from navarch.services.api.meta import owner_reference
from navarch.services.api.scale import get_scale, set_scale
from navarch.services.api.strategy import strategy_for

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 1},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string", "default": "a"}}},
                },
                "plain": {"type": "array", "items": {"type": "string"}},
                "atom": {"type": "object", "x-kubernetes-map-type": "atomic"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
}


def definition(name: str = "widgets", group: str = "example.com", **changes: Any) -> Any:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
        },
        "selectableFields": [{"jsonPath": ".spec.size"}],
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
        **changes,
    }
    names = {"plural": name, "singular": name[:-1], "kind": name[:-1].title(), "listKind": f"{name[:-1].title()}List"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return codec.from_json(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{name}.{group}"},
            "spec": spec,
        }
    )


@pytest.fixture
def kind() -> Kind:
    return custom_kinds(definition())[0]


def widget(kind: Kind, **members: Any) -> Any:
    value = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "default"}}
    return objects.from_json({**value, **members}, kind)


def test_a_definition_becomes_a_row(kind: Kind) -> None:
    assert (kind.qualified_resource, kind.singular, kind.list_kind) == ("widgets.example.com", "widget", "WidgetList")
    assert kind.key("default", "one") == "/registry/example.com/widgets/default/one"
    assert [part.name for part in kind.subresources] == ["scale", "status"]
    assert kind.full_name == "navarch.v1.CustomObject"
    assert [(column.name, column.json_path) for column in kind.custom.columns] == [("Size", ".spec.size")]


def test_a_table_has_its_own_custom_kinds(kind: Kind) -> None:
    table = KindTable(KINDS)
    table.replace_custom([kind])
    assert table.find("widget") is kind
    assert table.of(widget(kind)) is kind
    assert table.of(kind.message) is kind
    assert len(table) == len(KINDS) + 1
    table.replace_custom([])
    assert len(table) == len(KINDS)


def test_versions_are_preferred_as_kubernetes_does() -> None:
    found = sorted(
        ["foo1", "v1", "v11alpha2", "v2", "v1beta1", "v11beta2", "v10", "v1beta10", "foo10"], key=version_order
    )
    assert found == ["v10", "v2", "v1", "v11beta2", "v1beta10", "v1beta1", "v11alpha2", "foo1", "foo10"]


def test_objects_at_rest_are_json_in_order(kind: Kind) -> None:
    stored = objects.to_stored(widget(kind, spec={"tags": ["x"], "size": 2}))
    assert stored == (
        b'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"one","namespace":"default"},'
        b'"spec":{"size":2,"tags":["x"]}}\n'
    )
    assert objects.to_json(objects.from_stored(stored, kind))["spec"] == {"size": 2, "tags": ["x"]}


def test_objects_at_rest_get_todays_defaults_and_lose_what_is_unknown(kind: Kind) -> None:
    stored = b'{"apiVersion":"example.com/v0","kind":"Widget","metadata":{"name":"one"},"spec":{"old":1}}'
    read = objects.from_stored(stored, kind)
    assert (read.api_version, objects.content_of(read)) == ("example.com/v1", {"spec": {"size": 1}})


@pytest.mark.parametrize(
    "value",
    [b"{", b"[]", b"{}", b'{"apiVersion":"other/v1","kind":"Widget"}', b'{"apiVersion":"example.com/v1","kind":"X"}'],
)
def test_damaged_objects_are_told(kind: Kind, value: bytes) -> None:
    with pytest.raises(InternalError):
        objects.from_stored(value, kind)


def test_unknown_and_duplicate_fields_are_warned_about_or_refused(kind: Kind) -> None:
    text = b'{"metadata":{"name":"one","nick":1},"spec":{"size":1,"size":2,"x":1,"free":{"y":1}}}'
    warnings: list[str] = []
    found = objects.from_json(codec.parse_json(text, find_duplicates=True), kind, warnings=warnings)
    assert warnings == [
        'unknown field "metadata.nick"', 'duplicate field "spec.size"', 'unknown field "spec.x"',
    ]  # fmt: skip
    assert objects.content_of(found) == {"spec": {"size": 2, "free": {"y": 1}}}
    with pytest.raises(StrictError, match="strict decoding error: unknown field"):
        objects.from_json(orjson.loads(text), kind, strict=True)


@pytest.mark.parametrize(
    "value", [{"apiVersion": "example.com/v2", "kind": "Widget"}, {"apiVersion": "example.com/v1", "kind": "Pod"}]
)
def test_objects_of_other_kinds_are_refused(kind: Kind, value: Any) -> None:
    with pytest.raises(BadRequest):
        objects.from_json(value, kind)


def test_deep_objects_are_refused(kind: Kind) -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"x": deep}
    with pytest.raises(BadRequest, match="nested too deeply"):
        objects.from_json({"spec": {"free": deep}}, kind)


def test_generations_count_changes_of_all_but_status_and_metadata(kind: Kind) -> None:
    strategy = strategy_for(kind)
    old = widget(kind, spec={"size": 1}, status={"size": 3})
    strategy.prepare_for_create(old)
    assert (old.metadata.generation, objects.content_of(old)) == (1, {"spec": {"size": 1}})
    labelled = widget(kind, spec={"size": 1}, status={"size": 9})
    labelled.metadata.labels["a"] = "b"
    strategy.prepare_for_update(labelled, old)
    assert (labelled.metadata.generation, "status" in objects.content_of(labelled)) == (1, False)
    grown = widget(kind, spec={"size": 2})
    strategy.prepare_for_update(grown, old)
    assert grown.metadata.generation == 2


def test_status_updates_change_nothing_else(kind: Kind) -> None:
    strategy = strategy_for(kind)
    old = widget(kind, spec={"size": 1})
    new = widget(kind, spec={"size": 5}, status={"size": 3})
    new.metadata.labels["a"] = "b"
    strategy.prepare_for_status_update(new, old)
    assert objects.content_of(new) == {"spec": {"size": 1}, "status": {"size": 3}}
    assert not new.metadata.labels


def test_rules_are_not_asked_about_broken_objects(kind: Kind) -> None:
    schema = {**SCHEMA, "x-kubernetes-validations": [{"rule": "self.spec.size > 1"}]}
    ruled = custom_kinds(definition(schema={"openAPIV3Schema": schema}))[0]
    strategy = strategy_for(ruled)
    assert [str(error) for error in strategy.validate(widget(ruled, spec={"size": "x"}))] == [
        'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation",
    ]
    assert [str(error) for error in strategy.validate(widget(ruled, spec={"size": 1}))] == [
        "<nil>: Invalid value: failed rule: self.spec.size > 1"
    ]


def test_scale_by_paths(kind: Kind) -> None:
    one = widget(kind, spec={"size": 4}, status={"size": 2})
    scale = get_scale(one, kind)
    assert (scale.spec.replicas, scale.status.replicas) == (4, 2)
    set_scale(one, autoscalingv1.Scale(spec={"replicas": 7}), kind)
    assert objects.content_of(one)["spec"]["size"] == 7
    with pytest.raises(InternalError, match="does not exist"):
        get_scale(widget(kind), kind)


def test_selectable_fields(kind: Kind) -> None:
    assert supported_fields(kind) == ["metadata.name", "metadata.namespace", "spec.size"]
    assert FieldSelector.parse("spec.size=4").matches(widget(kind, spec={"size": 4}), kind)
    assert FieldSelector.parse("spec.size=").matches(widget(kind), kind)
    with pytest.raises(BadRequest, match="field label not supported: spec.tags"):
        FieldSelector.parse("spec.tags=x").check(kind)


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (".a.b", {"a": {"b": 1}}, 1),
        (".a['b.c']", {"a": {"b.c": 2}}, 2),
        (".a[0]", {"a": [3]}, 3),
        (".a.b", {"a": 1}, ABSENT),
        ("a", {"a": 1}, 1),
    ],
)
def test_paths(path: str, value: Any, found: Any) -> None:
    assert paths.read(value, path) is found or paths.read(value, path) == found


@pytest.mark.parametrize("path", [".a[*]", "..a", ".a[?(@.b)]", ".a[1:2]"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a simple JSON path"):
        paths.steps(path)


def test_ownership_follows_the_schema(kind: Kind) -> None:
    spec = kind.custom.ownership.members["spec"]
    assert spec.members["tags"] is SET
    assert spec.members["plain"] is LEAF
    assert spec.members["atom"] is LEAF
    assert spec.members["free"].rest is DEDUCED
    ports = spec.members["ports"]
    assert (ports.form, ports.keys, dict(ports.key_defaults)) == (Form.KEYED, ("name",), {"name": "a"})
    assert kind.custom.ownership.members["metadata"].members["labels"].form is Form.FIELDS


def test_custom_objects_can_own() -> None:
    kind = custom_kinds(definition())[0]
    reference = owner_reference(widget(kind))
    assert (reference.api_version, reference.kind, reference.name) == ("example.com/v1", "Widget", "one")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("singular", "gadget", "SingularConflict"),
        ("kind", "Gadget", "KindConflict"),
        ("list_kind", "GadgetList", "ListKindConflict"),
        ("short_names", ["gadgets"], "ShortNamesConflict"),
    ],
)
def test_names_are_accepted_once(field: str, value: Any, reason: str) -> None:
    first, second = definition("gadgets"), definition("widgets")
    names.settle_names(first, [first, second], 1.0)
    if isinstance(value, list):
        getattr(second.spec.names, field)[:] = value
    else:
        setattr(second.spec.names, field, value)
    names.settle_names(second, [first, second], 1.0)
    assert {one.type: (one.status, one.reason) for one in second.status.conditions} == {
        "NamesAccepted": ("False", reason), "Established": ("False", "NotAccepted"),
    }  # fmt: skip
    elsewhere = definition("gadgets", "other.com")
    names.settle_names(elsewhere, [first, second], 1.0)
    assert names.is_true(elsewhere, "Established")


def test_an_established_definition_stays_so() -> None:
    crd = definition()
    names.settle_names(crd, [crd], 1.0)
    before = crd.SerializeToString(deterministic=True)
    names.settle_names(crd, [crd], 2.0)
    assert crd.SerializeToString(deterministic=True) == before


def answer(uid: str = "u", **response: Any) -> bytes:
    whole = {"uid": uid, "result": {"status": "Success"}, **response}
    return orjson.dumps({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": whole})


OLD = {"apiVersion": "e/v1", "kind": "W", "metadata": {"name": "a", "uid": "1", "labels": {"x": "y"}}}


def test_conversion_takes_labels_and_content_from_the_webhook() -> None:
    new = {
        "apiVersion": "e/v2",
        "kind": "W",
        "metadata": {"name": "a", "uid": "1", "annotations": {"k": "v"}},
        "spec": 1,
    }
    found = conversion.converted(answer(convertedObjects=[new]), "u", "e/v2", [OLD])
    assert found == [{**new, "metadata": {"name": "a", "uid": "1", "annotations": {"k": "v"}}}]
    asked = orjson.loads(conversion.review("u", "e/v2", [OLD]))
    assert asked["request"] == {"uid": "u", "desiredAPIVersion": "e/v2", "objects": [OLD]}


@pytest.mark.parametrize(
    "reply",
    [
        b"no",
        b"{}",
        answer("other", convertedObjects=[]),
        answer(result={"status": "Failed", "message": "no"}),
        answer(convertedObjects=[]),
        answer(convertedObjects=[OLD]),
        answer(convertedObjects=[{**OLD, "apiVersion": "e/v2", "metadata": {"name": "b", "uid": "1"}}]),
        answer(convertedObjects=[{**OLD, "apiVersion": "e/v2", "metadata": None}]),
    ],
    ids=["no-json", "empty", "uid", "failed", "too-few", "version", "renamed", "no-metadata"],
)
def test_answers_that_break_the_contract_are_refused(reply: bytes) -> None:
    with pytest.raises(InternalError):
        conversion.converted(reply, "u", "e/v2", [OLD])
