"""Label selectors in both forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.labels import NOTHING, Selector, SelectorError, format_labels, key_problem, value_problem

LABELS = {"app": "web", "tier": "front", "empty": "", "size": "5", "example.com/role": "a"}

MATCHES = {
    "": True,
    "  ": True,
    "app=web": True,
    "app==web": True,
    " app = web ": True,
    "app=db": False,
    "app!=db": True,
    "app!=web": False,
    "missing!=x": True,
    "app": True,
    "missing": False,
    "!missing": True,
    "!app": False,
    "! missing": True,
    "app in (web,db)": True,
    "app in (db)": False,
    "app in(web)": True,
    "missing in (a)": False,
    "app notin (db,x)": True,
    "app notin (web)": False,
    "missing notin (a)": True,
    "empty=": True,
    "empty in (,a)": True,
    "app=": False,
    "empty=,app=web": True,
    "size>4": True,
    "size>5": False,
    "size<6": True,
    "app>1": False,
    "missing<1": False,
    "example.com/role=a": True,
    "app=web,tier=front": True,
    "app=web,tier=back": False,
    "app,!missing,tier in (front, back),size>1": True,
    "in=x": False,
    "in in (in)": False,
}


@pytest.mark.parametrize(("text", "expected"), MATCHES.items())
def test_text_form(text: str, expected: bool) -> None:
    selector = Selector.parse(text)
    assert selector.matches(LABELS) is expected
    # What a selector prints selects the same.
    assert Selector.parse(str(selector)) == Selector.parse(str(Selector.parse(str(selector))))
    assert Selector.parse(str(selector)).matches(LABELS) is expected


BAD = [
    ",",
    "a,",
    ",a",
    "=a",
    "!",
    "!!a",
    "a=b=c",
    "a in",
    "a in x",
    "a in ()x",
    "a in (x",
    "a in (x y)",
    "a notin",
    "a b",
]
BAD += ["a>x", "a>", "a=-b", "a=b-", "-a=b", "a/b/c=d", "/a=b", "a/=b", "A.B/c=d", "a=" + "x" * 64, "x" * 64, "a=b,,c"]
BAD += ["x" * 254 + "/a", "é=b", "a=é", "a=(b)", "(a)"]


@pytest.mark.parametrize("text", BAD)
def test_malformed_text(text: str) -> None:
    with pytest.raises(SelectorError):
        Selector.parse(text)


def _structured(*expressions: tuple[str, str, list[str]], **labels: str) -> metav1.LabelSelector:
    requirements = [
        metav1.LabelSelectorRequirement(key=key, operator=operator, values=values)
        for key, operator, values in expressions
    ]
    return metav1.LabelSelector(match_labels=labels, match_expressions=requirements)


def test_structured_form() -> None:
    selector = Selector.of(
        _structured(("tier", "In", ["front", "b"]), ("x", "DoesNotExist", []), ("size", "Exists", []), app="web")
    )
    assert selector.matches(LABELS)
    assert not selector.matches({**LABELS, "x": ""})
    assert str(selector) == "app=web,tier in (b,front),!x,size"
    assert Selector.of(_structured(("tier", "NotIn", ["front"]))).matches({})


def test_an_empty_selector_selects_all_and_none_nothing() -> None:
    assert Selector.of(metav1.LabelSelector()).matches({})
    assert Selector.of(None) is NOTHING
    assert not NOTHING.matches({})
    assert not Selector.parse("")
    assert NOTHING
    assert Selector.from_labels({"b": "1", "a": "2"}).matches({"a": "2", "b": "1", "c": ""})


@pytest.mark.parametrize(
    "expression",
    [("a", "Within", ["x"]), ("a", "In", []), ("a", "Exists", ["x"]), ("-a", "Exists", []), ("a", "In", ["-"])],
)
def test_malformed_structure(expression: tuple[str, str, list[str]]) -> None:
    with pytest.raises(SelectorError):
        Selector.of(_structured(expression))


def test_problems_are_told() -> None:
    assert key_problem("a") == value_problem("") == value_problem("x" * 63) == ""
    assert "63" in key_problem("x" * 64)
    assert "63" in value_problem("x" * 64)
    assert format_labels({}) == "<none>"
    assert format_labels({"b": "1", "a": "2"}) == "a=2,b=1"


KEYS = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,8}[a-z0-9])?", fullmatch=True)


@given(labels=st.dictionaries(KEYS, KEYS | st.just(""), max_size=5))
def test_labels_select_themselves_in_text(labels: dict[str, str]) -> None:
    selector = Selector.from_labels(labels)
    assert Selector.parse(str(selector)) == selector
    assert selector.matches(labels)


@given(text=st.text("ab!=<>(), notin/.-_", max_size=20))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except SelectorError:
        return
    assert Selector.parse(str(selector)).matches(LABELS) == selector.matches(LABELS)
