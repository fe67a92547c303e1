"""CEL rules: what they see, what they say, and that they end."""

from typing import Any

import pytest

from navarch.services.api.custom.cel.engine import CompileError, EvaluationError, Expression, matches
from navarch.services.api.custom.cel.values import escaped
from navarch.services.api.custom.rules import check_rules, compile_rule
from navarch.services.api.custom.structural import ABSENT, Rule, compile_schema

INT = {"type": "integer"}
TEXT = {"type": "string"}


def check(properties: dict[str, Any], value: Any, *rules: Any, old: Any = ABSENT, **more: Any) -> list[str]:
    """What rules on an object with these properties say."""
    written = [{"rule": rule} if isinstance(rule, str) else rule for rule in rules]
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": written, **more}
    schema = compile_schema({"type": "object", "properties": {"spec": spec}})
    before = ABSENT if old is ABSENT else {"spec": old}
    return [str(error) for error in check_rules({"spec": value}, schema, before)]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("self.a > 5", ["spec: Invalid value: failed rule: self.a > 5"]),
        ("self.a < 5", []),
        ({"rule": "self.a > 5", "message": " too small "}, ["spec: Invalid value: too small"]),
        ({"rule": "self.a > 5", "messageExpression": "'a is ' + string(self.a)"}, ["spec: Invalid value: a is 3"]),
        ({"rule": "self.a > 5", "messageExpression": "self.b", "message": "m"}, ["spec: Invalid value: m"]),
        ({"rule": "self.a > 5", "fieldPath": ".a"}, ["spec.a: Invalid value: failed rule: self.a > 5"]),
        ({"rule": "self.a > 5", "reason": "FieldValueForbidden"}, ["spec: Forbidden: failed rule: self.a > 5"]),
        ({"rule": "self.a > 5", "reason": "FieldValueRequired"}, ["spec: Required value: failed rule: self.a > 5"]),
        ("self.b > 5", ['spec: Invalid value: "object": no such key: b evaluating rule: self.b > 5']),
        ("!has(self.b) || self.b > 5", []),
        ("self.?b.orValue(3) == 3", []),
        (
            "10 / (self.a - 3) > 1",
            ['spec: Invalid value: "object": division by zero evaluating rule: 10 / (self.a - 3) > 1'],
        ),
        ("oldSelf.a == self.a", []),
    ],
)
def test_what_rules_say(rule: Any, said: list[str]) -> None:
    assert check({"a": INT, "b": INT}, {"a": 3}, rule) == said


@pytest.mark.parametrize("rule", ["self.a +", "nothing > 1", "'text'", "self.foo()"])
def test_rules_that_do_not_compile(rule: str) -> None:
    assert compile_rule(Rule(rule)).error
    assert "rule compile error: " in check({"a": INT}, {"a": 3}, rule)[0]


@pytest.mark.parametrize(
    ("rule", "old", "new", "is_fine"),
    [
        ("self.a >= oldSelf.a", {"a": 3}, {"a": 4}, True),
        ("self.a >= oldSelf.a", {"a": 3}, {"a": 2}, False),
        ({"rule": "oldSelf.hasValue() && oldSelf.value().a == 3", "optionalOldSelf": True}, {"a": 3}, {"a": 2}, True),
        ({"rule": "oldSelf.hasValue()", "optionalOldSelf": True}, ABSENT, {"a": 2}, False),
        ("self.a < 3", {"a": 5}, {"a": 5}, True),
        ("self.s == oldSelf.s", {"s": ["a", "b"]}, {"s": ["b", "a"]}, True),
        ("self.s == oldSelf.s", {"s": ["a", "b"]}, {"s": ["b", "c"]}, False),
    ],
    ids=["grown", "shrunk", "optional", "optional-none", "unchanged", "set-order", "set-changed"],
)
def test_transitions(rule: Any, old: Any, new: Any, is_fine: bool) -> None:
    listed = {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}
    assert (check({"a": INT, "s": listed}, new, rule, old=old) == []) is is_fine


def test_items_are_compared_with_those_of_their_key() -> None:
    item = {
        "type": "object",
        "properties": {"n": TEXT, "v": INT},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only up"}],
    }
    keyed = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}
    old = {"l": [{"n": "a", "v": 1}, {"n": "b", "v": 5}]}
    new = {"l": [{"n": "b", "v": 4}, {"n": "c", "v": 0}, {"n": "a", "v": 1}]}
    assert check({"l": keyed}, new, old=old) == ["spec.l[0]: Invalid value: only up"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        ("namespace", "__namespace__"),
        ("in", "__in__"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("ü", ""),
        ("1a", ""),
    ],
)
def test_names_that_rules_can_spell(name: str, shown: str) -> None:
    assert escaped(name) == shown


@pytest.mark.parametrize(
    ("schema", "value", "rule"),
    [
        ({"type": "number"}, 1, "type(self.x) == double"),
        (INT, 1.0, "type(self.x) == int"),
        ({**TEXT, "format": "duration"}, "90s", "self.x == duration('1m30s')"),
        ({**TEXT, "format": "date-time"}, "2024-01-01T00:00:00Z", "self.x.getFullYear() == 2024"),
        ({**TEXT, "format": "byte"}, "aGk=", "self.x == b'hi'"),
        ({"x-kubernetes-int-or-string": True}, "5%", "type(self.x) == int ? self.x < 10 : self.x == '5%'"),
        (
            {"type": "object", "additionalProperties": INT},
            {"in": 1},
            "self.x['in'] == 1 && self.x.all(k, self.x[k] == 1)",
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            {"kind": "Pod", "metadata": {"name": "a", "labels": {}}},
            "self.x.kind == 'Pod' && self.x.metadata.name == 'a' && !has(self.x.metadata.labels)",
        ),
    ],
)
def test_values_have_the_types_of_their_schema(schema: Any, value: Any, rule: str) -> None:
    assert check({"x": schema}, {"x": value}, rule) == []


@pytest.mark.parametrize(
    "expression",
    [
        "quantity('1Gi').isGreaterThan(quantity('1000Mi'))",
        "quantity('1') == quantity('1000m')",
        "quantity('50k').add(20).compareTo(quantity('50020')) == 0",
        "!isQuantity('ten') && isQuantity('10')",
        "ip('::ffff') == ip('::FFFF') && ip('127.0.0.1').isLoopback() && ip('10.0.0.1').family() == 4",
        "!isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0') && ip.isCanonical('::1') && !ip.isCanonical('::0001')",
        "cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "cidr('192.168.1.7/24').masked() == cidr('192.168.1.0/24') && cidr('::1/128').prefixLength() == 128",
        "url('https://u@example.com:80/a?k=v').getHost() == 'example.com:80' && url('/x').getScheme() == ''",
        "url('https://example.com/a?k=v&k=w').getQuery() == {'k': ['v', 'w']} && !isURL('a b')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "isSemver('v1.0', true) && !isSemver('v1.0') && semver('v1.0', true).major() == 1",
        "'abc 123 de 4'.findAll('([0-9])+') == ['123', '4'] && 'abc'.find('b') == 'b' && 'abc'.find('x') == ''",
        "'a1b2'.findAll('[0-9]', 1) == ['1']",
        "[1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [1.5, 2.5].max() == 2.5 && [1, 1, 2].isSorted()",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(5) == -1",
        "sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 1], [1])",
        "!format.dns1123Label().validate('web').hasValue() && format.dns1123Label().validate('a b').hasValue()",
        "format.named('uuid').hasValue() && !format.named('none').hasValue()",
        "'%s has %d'.format(['a', 3]) == 'a has 3' && 'A,b'.lowerAscii().split(',') == ['a', 'b']",
        "['a', 'b'].all(i, v, i < 2) && {'a': 1}.exists(k, v, v == 1) && [1, 2].transformList(i, v, v * 2) == [2, 4]",
        "cel.bind(x, 2, x * x) == 4 && optional.of(1).orValue(2) == 1",
    ],
)
def test_functions_of_kubernetes(expression: str) -> None:
    assert Expression(expression, ("self",)).run({"self": 1}) is True


@pytest.mark.parametrize(
    "expression",
    ["quantity('x')", "ip('x')", "cidr('1.2.3.4')", "url('a b')", "semver('1')", "[].min()", "'a'.find('(')"],
)
def test_functions_refuse_what_they_cannot_read(expression: str) -> None:
    with pytest.raises(EvaluationError):
        Expression(f"{expression} == {expression}", ("self",)).run({"self": 1})


def test_endless_rules_end() -> None:
    many = {"type": "array", "items": INT}
    rule = "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))"
    said = check({"l": many}, {"l": list(range(500))}, rule)
    assert "no further validation rules will be run due to call cost exceeds limit for rule: " in said[0]


def test_many_rules_end() -> None:
    item = {"type": "object", "properties": {"v": INT}, "x-kubernetes-validations": [{"rule": "self.v >= 0"}]}
    said = check({"l": {"type": "array", "items": item}}, {"l": [{"v": 1}] * 50_000})
    assert len(said) == 1
    assert said[0].endswith(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )


def test_long_strings_cost() -> None:
    """A string is gone through in each turn of a loop, which the turns alone do not tell."""
    properties = {"l": {"type": "array", "items": INT}, "text": {"type": "string"}}
    rule = "self.l.all(x, !self.text.contains('ab'))"
    assert check(properties, {"l": list(range(1000)), "text": "a" * 1000}, rule) == []
    (said,) = check(properties, {"l": list(range(1000)), "text": "a" * 1_000_000}, rule)
    assert said.endswith("no further validation rules will be run")


def test_many_short_strings_are_cheap() -> None:
    names = {"type": "array", "items": {"type": "string"}}
    assert check({"l": names}, {"l": ["a-name-as-names-are"] * 5000}, "self.l.all(x, x.matches('^[a-z-]+$'))") == []


def test_patterns_take_linear_time_and_bad_ones_judge_nothing() -> None:
    assert not matches("^(a+)+$", "a" * 10_000 + "b")
    assert matches("(", "x")


def test_compile_errors_name_the_place() -> None:
    with pytest.raises(CompileError, match="undeclared reference to 'nothing'"):
        Expression("nothing", ("self",))
