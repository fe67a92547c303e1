"""CEL rules (x-kubernetes-validations) of a schema, evaluated over an object.

A rule sees its node as `self`; a rule that speaks of `oldSelf` is a transition rule and only asked where an
update has a stored value to compare with, or is told by optionalOldSelf to ask anyhow. What an update leaves as
it was is not held against it, except by transition rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from navarch.services.api.custom.cel.engine import CompileError, EvaluationError, Expression
from navarch.services.api.custom.cel.types import T
from navarch.services.api.custom.cel.values import to_cel
from navarch.services.api.custom.correlation import old_item, old_member
from navarch.services.api.custom.structural import ABSENT, RESOURCE_MEMBERS, Rule, Structural
from navarch.services.api.custom.validation import same_json
from navarch.services.api.errors import FieldError
from navarch.services.api.field_errors import OMITTED

Errors = Iterator[FieldError]
# What all rules of an object may cost together; about a second.
BUDGET: Final = 2_000_000
_EVALUATION_COST: Final = 100
_ITERATIONS: Final = 10_000
_LOOPS: Final = re.compile(r"\.(all|exists|exists_one|existsOne|map|filter|transformList|transformMap)\(")
# What goes through a string from its begin to its end, in a loop each time anew; so many characters cost one.
_TRAVERSALS: Final = re.compile(
    r"\.(matches|contains|startsWith|endsWith|indexOf|lastIndexOf|find|findAll|replace|split|lowerAscii|upperAscii|trim"
    r"|substring|size|join|reverse|charAt|format)\(|\bsize\("
)
_CHARACTERS_OF_COST: Final = 50
_MESSAGE_BYTES: Final = 5 * 1024
OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class _Exhausted(Exception):
    """No more rules are run."""


@dataclass(slots=True)
class _Budget:
    left: int = BUDGET

    def spend(self, rule: Rule, nodes: int, longest: int) -> bool:
        """Whether there was enough left to ask a rule about that many JSON values, the longest string among them."""
        loops = len(_LOOPS.findall(rule.rule))
        iterations = min(_ITERATIONS, (1 + nodes) ** min(loops, 4)) if loops else 0
        traversed = max(1, iterations) * longest * len(_TRAVERSALS.findall(rule.rule))
        self.left -= _EVALUATION_COST + iterations + traversed // _CHARACTERS_OF_COST
        return self.left >= 0


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule, ready to be asked. error: why it cannot be."""

    expression: Expression | None
    message: Expression | None
    uses_old: bool
    error: str = ""


_OPTIONAL_OLD: Final = "cel.bind(oldSelf, size(olds) > 0 ? optional.of(olds[0]) : optional.none(), {rule})"


@lru_cache(maxsize=8192)
def compile_rule(rule: Rule) -> CompiledRule:
    """Compile a rule; what is wrong with it is said in the result."""
    try:
        expression, uses_old = _compiled(rule.rule, rule.optional_old_self, T.BOOL)
        message = None
        if rule.message_expression:
            message, _ = _compiled(rule.message_expression, rule.optional_old_self, T.STRING)
        return CompiledRule(expression, message, uses_old)
    except CompileError as failure:
        return CompiledRule(None, None, False, str(failure))


def _compiled(text: str, optional_old: bool, result: Any) -> tuple[Expression, bool]:
    """An expression, and whether it speaks of oldSelf."""
    try:
        return Expression(text, ("self",), result), False
    except CompileError:
        if "oldSelf" not in text:
            raise
    if optional_old:
        return Expression(_OPTIONAL_OLD.format(rule=text), ("self", "olds"), result), True
    return Expression(text, ("self", "oldSelf"), result), True


def check_rules(
    value: Any, schema: Structural, old: Any = ABSENT, warnings: list[str] | None = None
) -> list[FieldError]:
    """What the rules of a schema have against an object. warnings: what they have against what was so before."""
    errors: list[FieldError] = []
    ignored: list[FieldError] = []
    try:
        for error, was_so in _check(value, schema, "", old, _Budget(), is_root=True):
            (ignored if was_so else errors).append(error)
    except _Exhausted as failure:
        errors.append(failure.args[0])
    if warnings is not None:
        warnings += [str(error) for error in ignored]
    return errors


def _check(
    value: Any, schema: Structural, path: str, old: Any, budget: _Budget, *, is_root: bool = False
) -> Iterator[tuple[FieldError, bool]]:
    """Each error, and whether the value it is about is as it is stored."""
    if value is None or not schema.has_rules:
        return
    unchanged = old is not ABSENT and same_json(value, old)
    if schema.rules:
        values = {"self": to_cel(value, schema, is_resource=is_root)}
        has_old = old is not ABSENT and old is not None
        if has_old:
            values["oldSelf"] = to_cel(old, schema, like=value, is_resource=is_root)
        nodes, longest = _size(value)
        for rule in schema.rules:
            compiled = compile_rule(rule)
            if compiled.expression is not None and not budget.spend(rule, nodes, longest):
                raise _Exhausted(FieldError.invalid(path, schema.type, OUT_OF_BUDGET))
            error = _ask(rule, compiled, value, schema, path, values)
            if error is not None:
                yield error, unchanged and not compiled.uses_old
    if isinstance(value, dict):
        for name, item in value.items():
            part = schema.member(name)
            if part is None or (is_root and name in RESOURCE_MEMBERS):
                continue
            child = f"{path}.{name}" if path else name
            if name not in schema.properties:
                child = f"{path}[{name}]"
            yield from _check(item, part, child, old_member(schema, name, old), budget)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield from _check(item, schema.items, f"{path}[{index}]", old_item(schema, item, old), budget)


def _size(value: Any) -> tuple[int, int]:
    """The number of JSON values in a value, and of characters in the longest of its strings."""
    if isinstance(value, str):
        return 1, len(value)
    if not isinstance(value, dict | list):
        return 1, 0
    sizes = list(map(_size, value.values() if isinstance(value, dict) else value))
    return 1 + sum(nodes for nodes, _ in sizes), max((longest for _, longest in sizes), default=0)


def _ask(
    rule: Rule, compiled: CompiledRule, value: Any, schema: Structural, path: str, values: dict[str, Any]
) -> FieldError | None:
    if compiled.expression is None:
        return FieldError.invalid(path, schema.type, f"rule compile error: {compiled.error}")
    if compiled.uses_old and "oldSelf" not in values and not rule.optional_old_self:
        return None
    inputs = dict(values)
    if rule.optional_old_self:
        inputs = {"self": values["self"], "olds": [values["oldSelf"]] if "oldSelf" in values else []}
    try:
        if compiled.expression.run(inputs) is True:
            return None
    except EvaluationError as failure:
        return _failed(rule, schema, path, failure)
    detail = _message(rule, compiled, inputs)
    shown = OMITTED if schema.type in ("object", "array") else value
    return _refusal(rule, path, shown, detail)


def _short(rule: Rule) -> str:
    return (rule.message or rule.rule).strip()


def _failed(rule: Rule, schema: Structural, path: str, failure: EvaluationError) -> FieldError:
    if failure.exhausted:
        text = "operation cancelled: actual cost limit exceeded"
        detail = f"'{text}': no further validation rules will be run due to call cost exceeds limit for rule: "
        raise _Exhausted(FieldError.invalid(path, schema.type, detail + _short(rule)))
    if str(failure).startswith("no such overload"):
        detail = "call arguments did not match a supported operator, function or macro signature for rule: "
        return FieldError.invalid(path, schema.type, f"'{failure}': {detail}{_short(rule)}")
    return FieldError.invalid(path, schema.type, f"{failure} evaluating rule: {_short(rule)}")


def _message(rule: Rule, compiled: CompiledRule, values: dict[str, Any]) -> str:
    """What a broken rule says: the expression's text where it has one, else its own, else its words."""
    if compiled.message is not None:
        try:
            text = compiled.message.run(values)
        except EvaluationError:
            text = ""
        text = text.strip() if isinstance(text, str) else ""
        if text and "\n" not in text and len(text.encode()) <= _MESSAGE_BYTES:
            return text
    return rule.message.strip() or f"failed rule: {rule.rule.strip()}"


def _refusal(rule: Rule, path: str, value: Any, detail: str) -> FieldError:
    if rule.field_path:
        path = path + (rule.field_path if path or not rule.field_path.startswith(".") else rule.field_path[1:])
    match rule.reason:
        case "FieldValueForbidden":
            return FieldError.forbidden(path, detail)
        case "FieldValueRequired":
            return FieldError.required(path, detail)
        case "FieldValueDuplicate":
            return FieldError.duplicate(path, value)
    return FieldError.invalid(path, value, detail)
