"""Packing of endpoints into slices: every one exactly once, none moved, in the fewest writes."""

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.services.controller_manager.endpointslice.packing import Packed, pack


@pytest.mark.parametrize(
    ("kept", "changed", "new", "expected"),
    [
        pytest.param(["ab"], [], "", Packed([["a", "b"]]), id="nothing to do"),
        pytest.param([], [], "abcde", Packed([], [list("abcd"), list("e")]), id="the first slices"),
        pytest.param(["ab", "c"], [1], "x", Packed([list("ab"), list("cx")]), id="where is written anyway"),
        pytest.param(["ab", "c"], [0, 1], "x", Packed([list("abx"), list("c")]), id="the fullest first"),
        pytest.param(["a", "bcd", "ef"], [], "x", Packed([["a"], list("bcdx"), list("ef")]), id="the tightest fit"),
        pytest.param(["a", "bcd", "ef"], [], "xy", Packed([["a"], list("bcd"), list("efxy")]), id="all in one"),
        pytest.param(["abc", "def"], [], "xy", Packed([list("abc"), list("def")], [list("xy")]), id="no two writes"),
        pytest.param(["ab"], [], "uvwxyz", Packed([list("abyz")], [list("uvwx")]), id="whole ones and a remainder"),
        pytest.param(["", "ab"], [0], "x", Packed([["x"], list("ab")]), id="an emptied slice is rewritten"),
        pytest.param(["abcdef"], [0], "x", Packed([list("abcdef")], [["x"]]), id="fuller than the limit"),
    ],
)
def test_places(kept: list[str], changed: list[int], new: str, expected: Packed[str]) -> None:
    assert pack([list(each) for each in kept], changed, list(new), 4) == expected


@settings(deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=6), count=st.integers(0, 20), limit=st.just(4)
)
def test_against_the_model(sizes: list[tuple[int, bool]], count: int, limit: int) -> None:
    kept = [[f"{index}-{place}" for place in range(size)] for index, (size, _) in enumerate(sizes)]
    # A slice of which nothing stays is written (or deleted) in any case.
    changed = [index for index, (size, touched) in enumerate(sizes) if touched or not size]
    new = [f"new-{number}" for number in range(count)]
    packed = pack(kept, changed, new, limit)
    assert sorted(key for each in (*packed.slices, *packed.fresh) for key in each) == sorted([*chain(*kept), *new])
    assert all(after[: len(before)] == before for before, after in zip(kept, packed.slices, strict=True)), "moved"
    assert all(len(each) <= limit for each in (*packed.slices, *packed.fresh))
    assert all(packed.fresh)
    extra = [i for i, each in enumerate(packed.slices) if i not in changed and each != kept[i]]
    free = sum(limit - sizes[index][0] for index in changed)
    assert len(extra) + len(packed.fresh) == -(-max(0, count - free) // limit), "more writes than the fewest"
