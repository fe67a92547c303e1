"""Prints objects in the format that ``-o`` names."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import Message

from navarch.cli.errors import UsageError
from navarch.cli.output import jsonpath
from navarch.cli.output.table import Columns
from navarch.cli.targets import singular
from navarch.services.api import codec, printers, yaml_text
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.api.labels import format_labels
from navarch.services.api.meta import metadata_of

TABLES = frozenset({"", "wide"})
TEMPLATES = frozenset({"jsonpath", "custom-columns"})
ACCEPTED = "wide, name, yaml, json, jsonpath={...}, custom-columns=NAME:.path,..."
NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Format:
    """What ``-o`` and the options about columns ask for."""

    name: str = ""
    template: str = ""
    with_namespace: bool = False
    with_kind: bool = False
    with_labels: bool = False
    label_columns: tuple[str, ...] = ()
    with_header: bool = True

    @property
    def is_table(self) -> bool:
        """Whether objects become rows."""
        return self.name in TABLES or self.name == "custom-columns"


def parse_output(text: str) -> tuple[str, str]:
    """The name and template that ``-o`` means. Raises UsageError."""
    name, _, template = text.partition("=")
    if name not in TABLES | TEMPLATES | {"name", "yaml", "json"} or bool(template) != (name in TEMPLATES):
        raise UsageError(f"--output {text!r}: accepted are {ACCEPTED}")
    return name, template


class Printer:
    """Prints objects of one or several kinds; tables keep their columns from one call to the next."""

    def __init__(self, wanted: Format) -> None:
        self._format = wanted
        self._columns: dict[Kind | None, Columns] = {}

    def render(self, objects: Sequence[Message], *, single: bool = False) -> str:
        """The text for these objects. ``single``: one was asked for, so no list is made around it."""
        match self._format.name:
            case "name":
                return "".join(f"{title(one)}\n" for one in objects)
            case "custom-columns":
                return self._custom(objects)
            case name if name in TABLES:
                return self._tables(objects)
        document: Any = codec.to_json(objects[0]) if single else _list([codec.to_json(one) for one in objects])
        if self._format.name == "json":
            return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        if self._format.name == "yaml":
            return yaml_text.dump(document)
        return jsonpath.render(self._format.template, document)

    def _tables(self, objects: Iterable[Message]) -> str:
        by_kind: dict[Kind, list[Message]] = {}
        for one in objects:
            by_kind.setdefault(KINDS.of(one), []).append(one)
        return "\n".join(self._table(kind, of_kind) for kind, of_kind in by_kind.items())

    def _table(self, kind: Kind, objects: Sequence[Message]) -> str:
        wanted, now = self._format, time.time()
        with_namespace = wanted.with_namespace and kind.namespaced
        table = printers.table_for(kind)
        shown = [i for i, column in enumerate(table.columns) if column.priority == 0 or wanted.name == "wide"]
        header = [table.columns[i].name.upper() for i in shown]
        header += [label.rpartition("/")[2].upper() for label in wanted.label_columns]
        header += ["LABELS"] if wanted.with_labels else []
        rows = []
        for one in objects:
            cells, labels = table.row(one, now), metadata_of(one).labels
            row = [_shown(cells[i]) for i in shown]
            row[0] = f"{singular(kind)}/{row[0]}" if wanted.with_kind else row[0]
            row += [labels.get(label, "") for label in wanted.label_columns]
            row += [format_labels(labels) or NONE] if wanted.with_labels else []
            rows.append([metadata_of(one).namespace, *row] if with_namespace else row)
        return self._lines(kind, ["NAMESPACE", *header] if with_namespace else header, rows)

    def _custom(self, objects: Iterable[Message]) -> str:
        columns = [column.partition(":") for column in self._format.template.split(",")]
        if not all(name and path for name, _, path in columns):
            raise UsageError("--output custom-columns: write NAME:.path,NAME:.path")
        rows = []
        for one in objects:
            document = codec.to_json(one)
            found = [jsonpath.values(path, document) for _, _, path in columns]
            rows.append([",".join(map(jsonpath.shown, cell)) or NONE for cell in found])
        return self._lines(None, [name for name, _, _ in columns], rows)

    def _lines(self, kind: Kind | None, header: list[str], rows: list[list[str]]) -> str:
        """A header stands above the first rows of a kind only."""
        known = kind in self._columns
        columns = self._columns.setdefault(kind, Columns())
        return columns.format(header, rows, with_header=self._format.with_header and not known)


def _shown(cell: printers.Cell) -> str:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def title(one: Message) -> str:
    """TYPE/NAME of an object."""
    return f"{singular(KINDS.of(one))}/{metadata_of(one).name}"


def _list(items: list[Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
