"""A version 2 document as a protobuf message (`protos/openapi/v2.proto`)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from navarch.protos.openapi import v2_pb2 as pb

Json = dict[str, Any]
_METHODS: Final = ("get", "put", "post", "delete", "patch")
# Members of a schema that the message has under a name of its own, as plain values.
_PLAIN: Final = {
    "$ref": "ref",
    "format": "format",
    "title": "title",
    "description": "description",
    "multipleOf": "multiple_of",
    "maximum": "maximum",
    "exclusiveMaximum": "exclusive_maximum",
    "minimum": "minimum",
    "exclusiveMinimum": "exclusive_minimum",
    "maxLength": "max_length",
    "minLength": "min_length",
    "pattern": "pattern",
    "maxItems": "max_items",
    "minItems": "min_items",
    "uniqueItems": "unique_items",
    "maxProperties": "max_properties",
    "minProperties": "min_properties",
}


def encode(document: Json) -> bytes:
    """The bytes of a document."""
    message = pb.Document(swagger=document["swagger"], info=pb.Info(**document["info"]))
    for name, item in document["paths"].items():
        _fill_path(message.paths.path.add(name=name).value, item)
    for name, value in document["definitions"].items():
        _fill_schema(message.definitions.additional_properties.add(name=name).value, value)
    for name, value in document["securityDefinitions"].items():
        message.security_definitions.additional_properties.add(name=name).value.api_key_security.MergeFrom(
            pb.ApiKey(type=value["type"], name=value["name"], **{"in": value["in"]})
        )
    for requirement in document["security"]:
        one = message.security.add()
        for name in requirement:
            one.additional_properties.add(name=name).value.SetInParent()
    return message.SerializeToString(deterministic=True)


def _fill_path(message: pb.PathItem, item: Json) -> None:
    for method in _METHODS:
        if method in item:
            _fill_operation(getattr(message, method), item[method])
    message.parameters.extend(map(_parameter, item.get("parameters", ())))


def _fill_operation(message: pb.Operation, operation: Json) -> None:
    message.description = operation["description"]
    message.operation_id = operation["operationId"]
    message.deprecated = operation.get("deprecated", False)
    for name in ("tags", "produces", "consumes", "schemes"):
        getattr(message, name).extend(operation[name])
    message.parameters.extend(map(_parameter, operation["parameters"]))
    for code, answer in operation["responses"].items():
        response = message.responses.response_code.add(name=code).value.response
        response.description = answer["description"]
        if "schema" in answer:
            _fill_schema(response.schema.schema, answer["schema"])
    _extend(message.vendor_extension, operation)


def _parameter(parameter: Json) -> pb.ParametersItem:
    item = pb.ParametersItem()
    if parameter["in"] == "body":
        body = item.parameter.body_parameter
        body.MergeFrom(pb.BodyParameter(**{"name": "body", "in": "body", "required": parameter.get("required", False)}))
        _fill_schema(body.schema, parameter["schema"])
    elif parameter["in"] == "path":
        item.parameter.non_body_parameter.path_parameter_sub_schema.MergeFrom(
            pb.PathParameter(**_only(parameter, pb.PathParameter))
        )
    else:
        item.parameter.non_body_parameter.query_parameter_sub_schema.MergeFrom(
            pb.QueryParameter(**_only(parameter, pb.QueryParameter))
        )
    return item


def _only(parameter: Json, message: type[pb.PathParameter] | type[pb.QueryParameter]) -> Json:
    return {
        field.name: parameter[field.json_name] for field in message.DESCRIPTOR.fields if field.json_name in parameter
    }


def _fill_schema(message: pb.Schema, schema: Json) -> None:
    # A schema without a member is one, too.
    message.SetInParent()
    for key, value in schema.items():
        name = _PLAIN.get(key)
        if name is not None:
            setattr(message, name, value)
    message.required.extend(schema.get("required", ()))
    for value in schema.get("enum", ()):
        message.enum.add(yaml=_text(value))
    if "type" in schema:
        message.type.value.append(schema["type"])
    if isinstance(schema.get("items"), dict):
        _fill_schema(message.items.schema.add(), schema["items"])
    for value in schema.get("allOf", ()):
        _fill_schema(message.all_of.add(), value)
    for name, value in schema.get("properties", {}).items():
        _fill_schema(message.properties.additional_properties.add(name=name).value, value)
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        _fill_schema(message.additional_properties.schema, more)
    elif more is not None:
        message.additional_properties.boolean = more
    _extend(message.vendor_extension, schema)


def _extend(extensions: Any, value: Json) -> None:
    for key, item in value.items():
        if key.startswith("x-"):
            extensions.add(name=key).value.yaml = _text(item)


def _text(value: object) -> str:
    return orjson.dumps(value).decode() + "\n"
