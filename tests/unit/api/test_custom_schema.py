"""Structural schemas: pruning, defaulting, validation."""

from typing import Any

import pytest

from navarch.services.api.custom.defaulting import apply_defaults, drop_nulls
from navarch.services.api.custom.formats import is_of_format
from navarch.services.api.custom.pruning import prune
from navarch.services.api.custom.structural import ABSENT, compile_schema
from navarch.services.api.custom.validation import validate_value

INT = {"type": "integer"}
TEXT = {"type": "string"}
KEEP = {"x-kubernetes-preserve-unknown-fields": True}


def an_object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def a_list(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


@pytest.mark.parametrize(
    ("schema", "value", "pruned", "removed"),
    [
        (an_object(a=INT), {"a": 1, "b": 2}, {"a": 1}, ["b"]),
        (an_object(), {"apiVersion": "v1", "kind": "X", "metadata": {"x": 1}, "y": 1}, None, ["y"]),
        (an_object(s=an_object(a=INT)), {"s": {"a": 1, "b": 2}}, {"s": {"a": 1}}, ["s.b"]),
        (an_object(s=a_list(an_object(a=INT))), {"s": [{"a": 1}, {"b": 2}]}, {"s": [{"a": 1}, {}]}, ["s[1].b"]),
        ({**an_object(a=an_object(b=INT)), **KEEP}, {"x": {"y": 1}, "a": {"b": 1, "c": 2}}, None, ["a.c"]),
        (
            an_object(s={"type": "object", "additionalProperties": an_object(a=INT)}),
            {"s": {"k": {"b": 1}}},
            None,
            ["s.k.b"],
        ),
        (an_object(s={"type": "object", "additionalProperties": True}), {"s": {"k": {"b": 1}}}, None, []),
        (an_object(s={**KEEP, "type": "object"}), {"s": {"k": [{"b": 1}]}}, None, []),
        (
            an_object(s={**an_object(), "x-kubernetes-embedded-resource": True}),
            {"s": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": 1}},
            {"s": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}},
            ["s.spec"],
        ),
        (an_object(a=INT), {"a": {"b": 1}}, {"a": {}}, ["a.b"]),
    ],
    ids=["top", "type", "nested", "list", "preserving", "map", "any", "preserved", "embedded", "wrong-type"],
)
def test_pruning(schema: Any, value: Any, pruned: Any, removed: list[str]) -> None:
    assert prune(value, compile_schema(schema)) == removed
    if pruned is not None:
        assert value == pruned


@pytest.mark.parametrize(
    ("schema", "value", "filled"),
    [
        (an_object(a={**INT, "default": 1}), {}, {"a": 1}),
        (an_object(a={**INT, "default": 1}), {"a": 2}, {"a": 2}),
        (an_object(a={**an_object(b={**INT, "default": 2}), "default": {}}), {}, {"a": {"b": 2}}),
        (an_object(a=an_object(b={**INT, "default": 2})), {}, {}),
        (an_object(a={**INT, "default": 1}), {"a": None}, {"a": 1}),
        (an_object(a={**INT, "default": 1, "nullable": True}), {"a": None}, {"a": None}),
        (an_object(a=a_list(an_object(b={**INT, "default": 2}))), {"a": [{}, {"b": 3}]}, {"a": [{"b": 2}, {"b": 3}]}),
    ],
    ids=["missing", "present", "nested", "not-there", "null", "nullable", "items"],
)
def test_defaulting(schema: Any, value: Any, filled: Any) -> None:
    compiled = compile_schema(schema)
    drop_nulls(value, compiled)
    apply_defaults(value, compiled)
    assert value == filled
    apply_defaults(value, compiled)
    assert value == filled


def test_defaults_are_not_shared_between_objects() -> None:
    schema = compile_schema(an_object(a={**KEEP, "type": "object", "default": {"x": []}}))
    one: dict[str, Any] = {}
    two: dict[str, Any] = {}
    apply_defaults(one, schema)
    apply_defaults(two, schema)
    one["a"]["x"].append(1)
    assert two == {"a": {"x": []}}


@pytest.mark.parametrize(
    ("schema", "value", "error"),
    [
        (INT, "x", 'v: Invalid value: "string": v in body must be of type integer: "string"'),
        (INT, 1.5, 'v: Invalid value: "number": v in body must be of type integer: "number"'),
        (INT, 2.0, None),
        (INT, True, 'v: Invalid value: "boolean": v in body must be of type integer: "boolean"'),
        ({"type": "number"}, 1, None),
        (TEXT, None, 'v: Invalid value: "null": v in body must be of type string: "null"'),
        ({**TEXT, "nullable": True}, None, None),
        ({"x-kubernetes-int-or-string": True}, "5%", None),
        ({"x-kubernetes-int-or-string": True}, 5, None),
        (
            {"x-kubernetes-int-or-string": True},
            [],
            'v: Invalid value: "array": v in body must be of type integer,string: "array"',
        ),
        ({**INT, "minimum": 1}, 0, "v: Invalid value: 0: v in body should be greater than or equal to 1"),
        ({**INT, "minimum": 1, "exclusiveMinimum": True}, 1, "v: Invalid value: 1: v in body should be greater than 1"),
        ({**INT, "maximum": 3}, 4, "v: Invalid value: 4: v in body should be less than or equal to 3"),
        ({**INT, "maximum": 3, "exclusiveMaximum": True}, 3, "v: Invalid value: 3: v in body should be less than 3"),
        ({**INT, "multipleOf": 3}, 4, "v: Invalid value: 4: v in body should be a multiple of 3"),
        ({"type": "number", "multipleOf": 0.1}, 0.3, None),
        (
            {**INT, "format": "int32"},
            2**31,
            "v: Invalid value: 2147483648: Checked value must be of type integer with format int32 in v",
        ),
        ({**TEXT, "maxLength": 2}, "abc", "v: Too long: may not be more than 2 bytes"),
        ({**TEXT, "minLength": 2}, "a", 'v: Invalid value: "a": v in body should be at least 2 chars long'),
        ({**TEXT, "pattern": "^a+$"}, "b", "v: Invalid value: \"b\": v in body should match '^a+$'"),
        ({**TEXT, "pattern": "[[:digit:]]"}, "7", None),
        ({**TEXT, "pattern": "(a+)+$"}, "a" * 5000 + "b", None.__class__),
        ({**TEXT, "enum": ["a", "b"]}, "c", 'v: Unsupported value: "c": supported values: "a", "b"'),
        ({**TEXT, "format": "ipv4"}, "1.2.3", 'v: Invalid value: "1.2.3": v in body must be of type ipv4: "1.2.3"'),
        (a_list(INT, maxItems=1), [1, 2], "v: Too many: 2: must have at most 1 item"),
        (a_list(INT, minItems=1), [], "v: Invalid value: 0: v in body should have at least 1 items"),
        (a_list(INT, uniqueItems=True), [1, 1], "v: Invalid value: [1,1]: v in body shouldn't contain duplicates"),
        (a_list(INT, **{"x-kubernetes-list-type": "set"}), [1, 2, 1], "v[2]: Duplicate value: 1"),
        (a_list(INT), [1, "x"], 'v[1]: Invalid value: "string": v[1] in body must be of type integer: "string"'),
        (an_object("a", a=INT), {}, "v.a: Required value"),
        (
            {"type": "object", "maxProperties": 1, "additionalProperties": INT},
            {"a": 1, "b": 2},
            "v: Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "object", "additionalProperties": INT},
            {"a": "b"},
            'v.a: Invalid value: "string": v.a in body must be of type integer: "string"',
        ),
        (
            {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], **an_object(a=INT, b=INT)},
            {"a": 1, "b": 1},
            'v: Invalid value: "object": v in body must validate one and only one schema (oneOf). '
            "Found 2 valid alternatives",
        ),
        (
            {"not": {"required": ["a"]}, **an_object(a=INT)},
            {"a": 1},
            'v: Invalid value: "object": v in body must not validate the schema (not)',
        ),
        (
            {"anyOf": [{"minimum": 3}, {"maximum": 1}], **INT},
            2,
            "v: Invalid value: 2: v in body must validate at least one schema (anyOf)",
        ),
        ({"allOf": [{"minimum": 3}], **INT}, 2, "v: Invalid value: 2: v in body should be greater than or equal to 3"),
        (
            {**an_object(), "x-kubernetes-embedded-resource": True},
            {"kind": "Pod"},
            "v.apiVersion: Required value: must not be empty",
        ),
    ],
)
def test_validation(schema: Any, value: Any, error: Any) -> None:
    found = [str(one) for one in validate_value(value, compile_schema(schema), "v")]
    if error is None:
        assert not found
    elif isinstance(error, str):
        assert found[0] == error


def test_list_maps_have_each_key_once() -> None:
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "protocol"]}
    item = an_object(name=TEXT, protocol={**TEXT, "default": "TCP"})
    schema = compile_schema(a_list(item, **keyed))
    same = [{"name": "a"}, {"name": "a", "protocol": "UDP"}, {"name": "a", "protocol": "TCP"}]
    assert [one.field for one in validate_value(same, schema, "v")] == ["v[2]"]


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ({"a": 50}, {"a": 50, "b": 1}, []),
        ({"a": 50}, {"a": 60}, ["a"]),
        ({"l": [{"n": "x", "v": 50}]}, {"l": [{"n": "y", "v": 1}, {"n": "x", "v": 50}]}, []),
        ({"l": [{"n": "x", "v": 50}]}, {"l": [{"n": "x", "v": 51}]}, ["l[0].v"]),
    ],
    ids=["unchanged", "changed", "moved-item", "changed-item"],
)
def test_what_an_update_leaves_alone_is_not_held_against_it(old: Any, new: Any, fields: list[str]) -> None:
    small = {**INT, "maximum": 9}
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}
    schema = compile_schema(an_object(a=small, b=INT, l=a_list(an_object(n=TEXT, v=small), **keyed)))
    assert [one.field for one in validate_value(new, schema, "", old)] == fields
    assert [one.field for one in validate_value(new, schema, "", ABSENT)]


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        ("byte", "aGk=", "a"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("date", "2024-02-29", "2023-02-29"),
        ("date-time", "2024-02-29T10:00:00Z", "10:00"),
        ("duration", "1h30m", "soon"),
        ("email", "a@b.c", "a b"),
        ("hostname", "a.example.com", "-a"),
        ("ipv4", "1.2.3.4", "::1"),
        ("ipv6", "::1", "1.2.3.4"),
        ("isbn", "978-0-306-40615-7", "978-0-306-40615-8"),
        ("mac", "01:23:45:67:89:ab", "01:23"),
        ("uri", "https://a/b", "a b"),
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7"),
        ("uuid4", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("k8s-short-name", "web", "Web"),
    ],
)
def test_formats(format: str, good: str, bad: str) -> None:
    assert is_of_format(format, good)
    assert not is_of_format(format, bad)
    assert is_of_format("of-nobody", bad)
