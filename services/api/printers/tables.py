"""Objects as a meta.k8s.io/v1 Table: what the API answers to those who ask for rows instead of objects."""

from collections.abc import Iterable
from typing import Any

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec
from navarch.services.api.kinds import Kind
from navarch.services.api.printers.registry import table_for
from navarch.services.api.printers.table import Column, Table


def table_of(kind: Kind, objects: Iterable[Any], now: float, include: str = "Metadata") -> dict[str, Any]:
    """The Table, in JSON, of decoded objects of one kind.

    now: unix seconds, for ages. include: "Metadata", "Object" or "None": what each row carries of its object.
    `metadata` holds the resource version of a lone object; for lists the caller fills it.
    """
    return filled(table_for(kind), objects, now, include, kind)


def filled(
    table: Table, objects: Iterable[Any], now: float, include: str = "Metadata", kind: Kind | None = None
) -> dict[str, Any]:
    """The same for objects that are no kind of resource, such as a Scale."""
    rows, versions = [], []
    for one in objects:
        row: dict[str, Any] = {"cells": table.row(one, now), "object": _shown(one, kind, include)}
        if table.conditions is not None and (conditions := table.conditions(one)):
            row["conditions"] = conditions
        rows.append(row)
        versions.append(one.metadata.resource_version)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": versions[0]} if len(versions) == 1 else {},
        "columnDefinitions": [_definition(column) for column in table.columns],
        "rows": rows,
    }


def _definition(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _shown(one: Any, kind: Kind | None, include: str) -> dict[str, Any] | None:
    match include:
        case "Metadata":
            return codec.to_json(metav1.PartialObjectMetadata(metadata=one.metadata))
        case "Object":
            return codec.to_json(one) if kind is not None and kind.is_custom else codec.to_json(one, kind)
    return None
