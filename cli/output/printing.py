"""Prints objects in the format that ``-o`` names."""

import time
from collections.abc import Sequence
from typing import Any

import orjson
import yaml
from google.protobuf.message import Message

from navarch.cli.cluster.layout import UsageError
from navarch.cli.output import jsonpath
from navarch.cli.output.table import format_rows
from navarch.services.api import codec, printers
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.api.labels import format_labels
from navarch.services.api.meta import metadata_of

TABLES = frozenset({"", "table", "wide"})
ACCEPTED = "table, wide, name, yaml, json, jsonpath={...}"


class Printer:
    """Prints objects of one or several kinds. Tables of different kinds are separate."""

    def __init__(
        self, output: str, *, with_namespace: bool = False, show_labels: bool = False, with_header: bool = True
    ) -> None:
        name = output.partition("=")[0]
        if output not in TABLES and name not in ("name", "yaml", "json", "jsonpath"):
            raise UsageError(f"--output {output!r}: accepted are {ACCEPTED}")
        self._output = output
        self._with_namespace = with_namespace
        self._show_labels = show_labels
        self._with_header = with_header

    @property
    def is_table(self) -> bool:
        """Whether the format is a table."""
        return self._output in TABLES

    def render(self, objects: Sequence[Message], *, single: bool = False, prefixed: bool = False) -> str:
        """The text for these objects. ``single``: the user asked for one, so no list is made around it."""
        if self.is_table:
            return self._tables(objects, prefixed)
        if self._output == "name":
            return "".join(f"{_title(KINDS.of(one), one)}\n" for one in objects)
        document: Any = codec.to_json(objects[0]) if single else _list([codec.to_json(one) for one in objects])
        if self._output == "json":
            return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        if self._output == "yaml":
            return yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True, default_flow_style=False)
        return jsonpath.render(self._output.partition("=")[2], document)

    def _tables(self, objects: Sequence[Message], prefixed: bool) -> str:
        by_kind: dict[Kind, list[Message]] = {}
        for one in objects:
            by_kind.setdefault(KINDS.of(one), []).append(one)
        tables = [self._table(kind, of_kind, prefixed or len(by_kind) > 1) for kind, of_kind in by_kind.items()]
        return "\n".join(tables)

    def _table(self, kind: Kind, objects: Sequence[Message], prefixed: bool) -> str:
        now = time.time()
        table = printers.table_for(kind)
        shown = [i for i, column in enumerate(table.columns) if column.priority == 0 or self._output == "wide"]
        header = [table.columns[i].name.upper() for i in shown]
        rows = []
        for one in objects:
            cells = table.row(one, now)
            row = [str(cells[i]) for i in shown]
            if prefixed:
                row[0] = f"{_title(kind, one).rpartition('/')[0]}/{row[0]}"
            if self._with_namespace and kind.namespaced:
                row.insert(0, metadata_of(one).namespace)
            if self._show_labels:
                row.append(format_labels(metadata_of(one).labels) or "<none>")
            rows.append(row)
        if self._with_namespace and kind.namespaced:
            header.insert(0, "NAMESPACE")
        if self._show_labels:
            header.append("LABELS")
        return format_rows(header, rows, with_header=self._with_header)


def _title(kind: Kind, one: Message) -> str:
    group = f".{kind.group}" if kind.group else ""
    return f"{kind.singular}{group}/{metadata_of(one).name}"


def _list(items: list[Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
