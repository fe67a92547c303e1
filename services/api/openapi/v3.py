"""OpenAPI version 3: one document for each group and version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.kinds import KINDS, Kind, message_class, type_of
from navarch.services.api.openapi import custom, docs, names, operations, schemas
from navarch.services.api.openapi.operations import PHRASES, Operation
from navarch.services.api.openapi.parameters import Parameter

Json = dict[str, Any]


def document(kinds: list[Kind], title: str, version: str) -> Json:
    """The document of the kinds of a group and version."""
    paths: Json = {}
    for kind in kinds:
        for operation in operations.of_kind(kind):
            item = paths.setdefault(operation.path, {})
            item[operation.method] = _operation(operation, operations.tag(kind))
            if common := operation.of_path():
                item["parameters"] = [_parameter(one) for one in common]
    return {
        "openapi": "3.0.0",
        "info": {"title": title, "version": version},
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {"schemas": components(kinds)},
    }


def components(kinds: list[Kind]) -> Json:
    """The schemas of kinds and of all that these refer to, by name."""
    roots = [message.DESCRIPTOR for message in _messages(kinds)]
    found = {names.of_message(one.full_name): _named(one) for one in schemas.closure(roots)}
    found[names.PATCH] = {"type": "object", "description": docs.PATCH}
    # Every group takes these. Other custom ones are left out, or all documents would change with each of them.
    groups = sorted({(kind.group, kind.version) for kind in (*KINDS, *kinds)})
    for name, kind_name in ((names.DELETE_OPTIONS, "DeleteOptions"), (names.WATCH_EVENT, "WatchEvent")):
        marks = [names.gvk(group, version, kind_name) for group, version in groups]
        found[name] = {**found[name], "x-kubernetes-group-version-kind": marks}
    for kind in kinds:
        if kind.is_custom:
            found.update(custom.definitions(kind))
    return {name: found[name] for name in sorted(found)}


def _messages(kinds: list[Kind]) -> Iterator[Any]:
    yield from (metav1.Status, metav1.DeleteOptions, metav1.WatchEvent, metav1.ListMeta)
    for kind in kinds:
        if kind.is_custom:
            yield metav1.ObjectMeta
        else:
            yield kind.message
            if kind.list_message is not None:
                yield kind.list_message
        for part in kind.subresources:
            if part.kind != kind.kind and not part.kind.endswith("Options"):
                yield message_class(part.api_version or kind.api_version, part.kind)


def _named(descriptor: Any) -> Json:
    """The schema of a message; that of a kind says which kind it is."""
    schema = schemas.of_message(descriptor)
    known = type_of(descriptor.full_name)
    if known is None:
        return schema
    group, _, version = known[0].rpartition("/")
    return {**schema, "x-kubernetes-group-version-kind": [names.gvk(group, version, known[1])]}


def _operation(operation: Operation, tag: str) -> Json:
    schema = {"type": "string"} if operation.answer == "string" else {"$ref": schemas.REF + operation.answer}
    content = {media: {"schema": schema} for media in operation.produces}
    responses: Json = {str(code): {"description": PHRASES[code], "content": content} for code in operation.codes}
    responses["401"] = {"description": "Unauthorized"}
    found: Json = {
        "tags": [tag],
        "description": operation.summary,
        "operationId": operation.id,
        "parameters": [_parameter(one) for one in operation.own()],
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": names.gvk(*operation.gvk),
    }
    if operation.body:
        body = {media: {"schema": {"$ref": schemas.REF + operation.body}} for media in operation.consumes}
        found["requestBody"] = {"content": body}
        if operation.needs_body:
            found["requestBody"]["required"] = True
    if operation.is_deprecated:
        found["deprecated"] = True
    return found


def _parameter(parameter: Parameter) -> Json:
    found: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": {"type": parameter.type},
    }
    if parameter.is_required:
        found["required"] = True
    return found
