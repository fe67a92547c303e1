"""OpenAPI version 2: one document for everything, for clients that know no other."""

from __future__ import annotations

from typing import Any, Final

from navarch.services.api.kinds import Kind
from navarch.services.api.openapi import names, operations, v3
from navarch.services.api.openapi.operations import PHRASES, Operation
from navarch.services.api.openapi.parameters import Parameter
from navarch.services.api.openapi.schemas import REF

Json = dict[str, Any]
_REF: Final = "#/definitions/"
# What version 2 has no word for.
_UNKNOWN: Final = ("anyOf", "not", "nullable", "oneOf", "default")


def document(kinds: list[Kind], title: str, version: str) -> Json:
    """The document of all kinds."""
    paths: Json = {}
    for kind in kinds:
        for operation in operations.of_kind(kind):
            item = paths.setdefault(operation.path, {})
            item[operation.method] = _operation(operation, operations.tag(kind))
            if common := [_parameter(one) for one in operation.of_path()]:
                item["parameters"] = common
    return {
        "swagger": "2.0",
        "info": {"title": title, "version": version},
        "paths": {path: paths[path] for path in sorted(paths)},
        "definitions": {name: schema(value) for name, value in v3.components(kinds).items()},
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    }


def schema(value: Json) -> Json:
    """A schema of version 3 in the words of version 2."""
    if "allOf" in value and len(value["allOf"]) == 1 and "$ref" in value["allOf"][0]:
        value = {**{key: item for key, item in value.items() if key != "allOf"}, **value["allOf"][0]}
    if value.get("x-kubernetes-int-or-string") or value.get("format") == "int-or-string":
        value = {**value, "type": "string", "format": "int-or-string"}
    elif "oneOf" in value and "type" not in value:
        value = {**value, "type": "string"}
    if value.get("nullable"):
        # "Null too" cannot be said; nothing is said about the type then.
        value = {key: item for key, item in value.items() if key not in ("type", "properties", "items")}
    found = {key: item for key, item in value.items() if key not in _UNKNOWN}
    if "$ref" in found:
        found["$ref"] = _REF + found["$ref"].removeprefix(REF)
    if "properties" in found:
        found["properties"] = {name: schema(item) for name, item in found["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = schema(found[key])
    if "allOf" in found:
        found["allOf"] = [schema(item) for item in found["allOf"]]
    return found


def _operation(operation: Operation, tag: str) -> Json:
    answer = {"type": "string"} if operation.answer == "string" else {"$ref": _REF + operation.answer}
    responses: Json = {str(code): {"description": PHRASES[code], "schema": answer} for code in operation.codes}
    responses["401"] = {"description": "Unauthorized"}
    own = [_parameter(one) for one in operation.own()]
    if operation.body:
        own.insert(0, _body(operation))
    found: Json = {
        "tags": [tag],
        "description": operation.summary,
        "operationId": operation.id,
        "consumes": list(operation.consumes),
        "produces": list(operation.produces),
        "schemes": ["https"],
        "parameters": own,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": names.gvk(*operation.gvk),
    }
    if operation.is_deprecated:
        found["deprecated"] = True
    return found


def _body(operation: Operation) -> Json:
    found: Json = {"name": "body", "in": "body", "schema": {"$ref": _REF + operation.body}}
    if operation.needs_body:
        found["required"] = True
    return found


def _parameter(parameter: Parameter) -> Json:
    found: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "type": parameter.type,
    }
    if parameter.is_required:
        found["required"] = True
    return found
