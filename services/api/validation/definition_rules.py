"""CEL rules in the schema of a custom resource: each can be compiled, and asks of the past only what can be found."""

from typing import TYPE_CHECKING, Any

from navarch.services.api.errors import FieldError
from navarch.services.api.validation.values import Errors

if TYPE_CHECKING:
    from navarch.services.api.custom.rules import CompiledRule

Schema = dict[str, Any]

RULES = "x-kubernetes-validations"


def validate_rules(schema: Schema, path: str, lost: str = "") -> Errors:
    """Check the rules of a part of a valid schema and of the parts in it.

    lost: the list above whose items cannot be told apart over time, if there is one.
    """
    for index, rule in enumerate(schema.get(RULES) or ()):
        yield from _validate_rule(rule, f"{path}.{RULES}[{index}]", lost)
    items, additional = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, dict):
        is_map = schema.get("x-kubernetes-list-type") == "map"
        yield from validate_rules(items, f"{path}.items", lost or ("" if is_map else path))
    if isinstance(additional, dict):
        yield from validate_rules(additional, f"{path}.additionalProperties", lost)
    for name in sorted(schema.get("properties") or {}):
        yield from validate_rules(schema["properties"][name], f"{path}.properties[{name}]", lost)


def _validate_rule(rule: Schema, path: str, lost: str) -> Errors:
    compiled = _compile(rule, "")
    message = rule.get("messageExpression", "")
    if compiled.error:
        yield FieldError.invalid(f"{path}.rule", rule, compiled.error)
    elif message and (error := _compile(rule, message).error):
        yield FieldError.invalid(f"{path}.messageExpression", rule, f"messageExpression {error}")
    if compiled.uses_old and lost:
        text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
        yield FieldError.invalid(f"{path}.rule", rule["rule"], text)
    elif not compiled.error and not compiled.uses_old and "optionalOldSelf" in rule:
        text = "may not be set if oldSelf is not used in rule"
        yield FieldError.invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], text)


def _compile(rule: Schema, message: str) -> "CompiledRule":
    # Only a server that is given rules has to load what compiles them.
    from navarch.services.api.custom.rules import compile_rule
    from navarch.services.api.custom.structural import Rule

    return compile_rule(
        Rule(rule["rule"], message_expression=message, optional_old_self=bool(rule.get("optionalOldSelf")))
    )
