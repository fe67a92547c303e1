"""JSON Patch and JSON merge patch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.api.errors import ApiError, BadRequest, RequestEntityTooLarge
from navarch.services.api.patches import json_patch, merge_patch


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([{"op": "add", "path": "/a/c", "value": 2}], {"a": {"b": 1, "c": 2}, "l": [1, 2]}),
        ([{"op": "add", "path": "/l/-", "value": 3}], {"a": {"b": 1}, "l": [1, 2, 3]}),
        ([{"op": "remove", "path": "/a"}], {"l": [1, 2]}),
        ([{"op": "replace", "path": "/a/b", "value": {}}], {"a": {"b": {}}, "l": [1, 2]}),
        ([{"op": "move", "from": "/a/b", "path": "/m"}], {"a": {}, "l": [1, 2], "m": 1}),
        ([{"op": "copy", "from": "/l", "path": "/a/l"}], {"a": {"b": 1, "l": [1, 2]}, "l": [1, 2]}),
        ([{"op": "test", "path": "/a/b", "value": 1}, {"op": "remove", "path": "/l/0"}], {"a": {"b": 1}, "l": [2]}),
    ],
)
def test_json_patch(patch, expected):
    document = {"a": {"b": 1}, "l": [1, 2]}
    assert json_patch.apply(document, patch) == expected
    assert document == {"a": {"b": 1}, "l": [1, 2]}


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param([{"op": "test", "path": "/a", "value": 2}], id="test fails"),
        pytest.param([{"op": "remove", "path": "/x"}], id="nothing to remove"),
        pytest.param([{"op": "replace", "path": "/x", "value": 1}], id="nothing to replace"),
        pytest.param([{"op": "add", "path": "/x/y", "value": 1}], id="no parent"),
        pytest.param([{"op": "add", "path": "/a/b/c", "value": 1}], id="parent is a number"),
        pytest.param([{"op": "copy", "from": "/x", "path": "/y"}], id="nothing to copy"),
    ],
)
def test_what_the_document_does_not_allow_is_unprocessable(patch):
    with pytest.raises(ApiError) as refusal:
        json_patch.apply({"a": 1}, patch)
    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")


@pytest.mark.parametrize(
    "patch",
    [
        {},
        "x",
        [{}],
        [{"op": "explode", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": "/a"}],
        [1],
        [{"op": "copy", "path": "/a"}],
    ],
)
def test_what_is_no_json_patch_is_a_bad_request(patch):
    with pytest.raises(BadRequest):
        json_patch.apply({"a": 1}, patch)


def test_too_many_operations():
    with pytest.raises(RequestEntityTooLarge):
        json_patch.apply({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)


def test_copies_cannot_grow_without_bound():
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/{step}"} for step in range(60)]
    with pytest.raises(RequestEntityTooLarge):
        json_patch.apply({"a": {"text": "x" * 100}}, doubling)


# The examples of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("original", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(original, patch, expected):
    assert merge_patch.apply(original, patch) == expected


scalars = st.booleans() | st.integers(-2, 2) | st.text(max_size=2)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner)
)
objects = st.dictionaries(st.text("ab", max_size=2), values)


@given(objects, objects)
def test_applying_a_merge_diff_gives_the_modified_object(original, modified):
    result = merge_patch.apply(original, merge_patch.diff(original, modified))
    assert merge_patch.same(result, modified)
