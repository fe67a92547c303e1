"""Custom resources: the columns that their CustomResourceDefinition gives them.

A column is a JSONPath over the object. What is missing, or not of the column's type, is no cell (None).
Source: Kubernetes, Extend the Kubernetes API with CustomResourceDefinitions, "Additional printer columns".
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import orjson

from navarch.services.api import codec, jsonpath
from navarch.services.api.codec.times import parse_moment
from navarch.services.api.meta import human_duration
from navarch.services.api.printers.table import UNKNOWN, Cell, Column, Table, age_of

_NAME = Column("Name", format="name")


class CustomColumn(Protocol):
    """A column as a definition describes it."""

    @property
    def name(self) -> str:
        """Its title."""
        ...

    @property
    def type(self) -> str:
        """Of its cells: string, integer, number, boolean or date."""
        ...

    @property
    def format(self) -> str:
        """A hint for who shows it."""
        ...

    @property
    def description(self) -> str:
        """For people."""
        ...

    @property
    def priority(self) -> int:
        """0: always shown."""
        ...

    @property
    def json_path(self) -> str:
        """Where its value is: ".spec.replicas"."""
        ...


@lru_cache(maxsize=1024)
def custom_table(columns: tuple[CustomColumn, ...]) -> Table:
    """The table of a custom kind; without columns of its own it shows name and age."""
    if not columns:
        return Table((_NAME, Column("Age", "date")), lambda one, now: (one.metadata.name, age_of(one, now)))

    def fill(one: Any, now: float) -> Sequence[Cell]:
        document = codec.to_json(one)
        return (one.metadata.name, *(_cell(column.type, column.json_path, document, now) for column in columns))

    own = (Column(one.name, one.type, one.format, one.priority, one.description) for one in columns)
    return Table((_NAME, *own), fill)


def _cell(type: str, path: str, document: Any, now: float) -> Cell:
    try:
        found = jsonpath.find(path, document)
    except jsonpath.PathError:
        return None
    if not found:
        return None
    value = found[0]
    match type:
        case "string":
            return _text(value)
        case "date":
            return _age(value, now) if isinstance(value, str) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "integer" | "number" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value) if type == "integer" else float(value)
    return None


def _text(value: Any) -> Cell:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _age(text: str, now: float) -> str:
    if not text:
        return UNKNOWN
    try:
        return human_duration(now - parse_moment(text)[0])
    except ValueError:
        return "<invalid>"
