"""The lines of a description, and the blocks that many kinds share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from navarch.cli.output.table import format_rows
from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.patches.three_way import LAST_APPLIED

WIDTH = 18
NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Line:
    """A label with a value, or with an empty label a value that goes on below the last one."""

    depth: int
    label: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Plain:
    """Text without a label."""

    depth: int
    text: str


Lines = Iterable[Line | Plain]


class Condition(Protocol):
    """What conditions of all kinds have."""

    type: str
    status: str
    reason: str
    message: str


def text(lines: Lines) -> str:
    """The lines below each other."""
    return "".join(f"{_line(line)}\n" for line in lines)


def _line(line: Line | Plain) -> str:
    indent = "  " * line.depth
    if isinstance(line, Plain):
        return (indent + line.text).rstrip()
    label = f"{line.label}:" if line.label else ""
    return f"{indent}{label:<{WIDTH}} {line.value}".rstrip()


def deeper(lines: Lines) -> Lines:
    """The same, one step further in."""
    return (replace(line, depth=line.depth + 1) for line in lines)


def head(meta: metav1.ObjectMeta) -> Iterator[Line]:
    """Name, namespace, labels and annotations."""
    yield Line(0, "Name", meta.name)
    if meta.namespace:
        yield Line(0, "Namespace", meta.namespace)
    yield from mapping("Labels", meta.labels)
    shown = {key: value for key, value in meta.annotations.items() if key != LAST_APPLIED}
    yield from mapping("Annotations", shown)


def mapping(label: str, found: Mapping[str, str], depth: int = 0) -> Iterator[Line]:
    """key=value, one a line."""
    return several(label, [f"{key}={found[key]}" for key in sorted(found)], depth)


def several(label: str, values: Sequence[str], depth: int = 0) -> Iterator[Line]:
    """Values below each other."""
    yield Line(depth, label, values[0] if values else NONE)
    yield from (Line(depth, "", value) for value in values[1:])


def table(label: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Line | Plain]:
    """A table below its label."""
    yield Line(0, label, "" if rows else NONE)
    if rows:
        rule = ["-" * len(name) for name in header]
        yield from (Plain(1, line) for line in format_rows(header, [rule, *rows]).splitlines())


def conditions(found: Iterable[Condition]) -> Iterator[Line | Plain]:
    """Conditions, with reasons where any is given."""
    listed = list(found)
    if any(one.reason or one.message for one in listed):
        rows = [[one.type, one.status, one.reason, one.message] for one in listed]
        return table("Conditions", ["Type", "Status", "Reason", "Message"], rows)
    return table("Conditions", ["Type", "Status"], [[one.type, one.status] for one in listed])


def quantities(depth: int, label: str, found: Mapping[str, quantity_pb2.Quantity]) -> Iterator[Line]:
    """A ResourceList."""
    if found:
        yield Line(depth, label)
        yield from (Line(depth + 1, name, found[name].string) for name in sorted(found))


def moment(time: metav1.Time) -> str:
    """A time as RFC 1123 writes it; "" where none is set."""
    if not time.seconds:
        return ""
    return datetime.fromtimestamp(time.seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
