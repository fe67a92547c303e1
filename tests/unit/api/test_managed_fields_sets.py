"""Field sets: their algebra, and their JSON."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navarch.services.api.managed_fields import sets
from navarch.services.api.managed_fields.sets import FieldSet, FieldSetError, Path

KEY = 'k:{"name":"a"}'
PATHS = st.lists(st.sampled_from(["f:a", "f:b", KEY, 'v:"x"']), min_size=1, max_size=3).map(tuple)
PATH_SETS = st.sets(PATHS, max_size=8)


def made_of(paths: set[Path]) -> FieldSet:
    return sets.of_paths(*paths)


def paths_of(fields: FieldSet) -> set[Path]:
    return set(sets.paths(fields))


class TestAlgebra:
    """A set behaves as the set of its paths does."""

    @given(PATH_SETS)
    def test_keeps_its_paths(self, paths: set[Path]) -> None:
        assert paths_of(made_of(paths)) == paths

    @given(PATH_SETS, PATH_SETS)
    def test_union(self, left: set[Path], right: set[Path]) -> None:
        assert paths_of(sets.union(made_of(left), made_of(right))) == left | right

    @given(PATH_SETS, PATH_SETS)
    def test_difference(self, left: set[Path], right: set[Path]) -> None:
        assert sets.difference(made_of(left), made_of(right)) == made_of(left - right)

    @given(PATH_SETS, PATH_SETS)
    def test_intersection(self, left: set[Path], right: set[Path]) -> None:
        assert sets.intersection(made_of(left), made_of(right)) == made_of(left & right)

    @example({("f:a",), ("f:a", "f:b")}, {("f:a", "f:b")})
    @given(PATH_SETS, PATH_SETS)
    def test_without_takes_what_is_below_too(self, left: set[Path], right: set[Path]) -> None:
        kept = {path for path in left if not any(path[: len(end)] == end for end in right)}
        assert sets.without(made_of(left), made_of(right)) == made_of(kept)

    @given(PATH_SETS, PATH_SETS)
    def test_operands_stay_as_they_are(self, left: set[Path], right: set[Path]) -> None:
        one, other = made_of(left), made_of(right)
        for operation in (sets.union, sets.difference, sets.intersection, sets.without):
            operation(one, other)
        assert (one, other) == (made_of(left), made_of(right))

    @given(PATH_SETS, PATHS)
    def test_has(self, paths: set[Path], path: Path) -> None:
        assert sets.has(made_of(paths), path) is (path in paths)


class TestJson:
    """FieldsV1."""

    @given(PATH_SETS)
    def test_survives_the_trip(self, paths: set[Path]) -> None:
        fields = made_of(paths)
        assert sets.parse(sets.serialize(fields)) == fields

    def test_is_in_order_and_compact(self) -> None:
        fields = sets.of_paths(("f:b",), ("f:a", 'k:{"name":"x"}'), ("f:a", 'k:{"name":"x"}', "f:name"))
        assert sets.serialize(fields) == rb'{"f:a":{"k:{\"name\":\"x\"}":{".":{},"f:name":{}}},"f:b":{}}'

    def test_keys_are_made_canonical(self) -> None:
        raw = rb'{"k:{\"protocol\": \"TCP\", \"containerPort\": 80}":{}}'
        assert sets.parse(raw) == {'k:{"containerPort":80,"protocol":"TCP"}': {}}

    def test_elements_of_the_future_are_dropped(self) -> None:
        assert sets.parse(b'{"f:a":{},"z:new":{}}') == {"f:a": {}}

    def test_nothing_is_the_empty_set(self) -> None:
        assert sets.parse(b"") == {}

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"{", id="no JSON"),
            pytest.param(b"[]", id="a list"),
            pytest.param(b'{"f:a":1}', id="a number below"),
            pytest.param(b'{"fa":{}}', id="no colon"),
            pytest.param(b'{"k:{":{}}', id="keys are no JSON"),
            pytest.param(b'{"k:[]":{}}', id="keys are no object"),
            pytest.param(b'{"k:{}":{}}', id="no keys"),
            pytest.param(b'{"i:x":{}}', id="index is no number"),
            pytest.param(b'{"f:a":' * 300 + b"{}" + b"}" * 300, id="too deep"),
        ],
    )
    def test_refuses(self, raw: bytes) -> None:
        with pytest.raises(FieldSetError):
            sets.parse(raw)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (("f:containers", 'k:{"name":"web"}', "f:image"), '.containers[name="web"].image'),
        (("f:ports", 'k:{"containerPort":80,"protocol":"TCP"}'), '.ports[containerPort=80,protocol="TCP"]'),
        (("f:finalizers", 'v:"a/b"'), '.finalizers[="a/b"]'),
        (("f:list", "i:3"), ".list[3]"),
    ],
)
def test_shows_paths_as_messages_do(path: Path, shown: str) -> None:
    assert sets.show(path) == shown
