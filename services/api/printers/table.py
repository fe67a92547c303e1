"""What a table is: columns, and how an object fills them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.labels import Selector, SelectorError, format_labels
from navarch.services.api.meta import age

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"

# None: nothing to show.
Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column, as meta/v1 Table describes it."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    """0: always shown; 1: shown in wide tables."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a kind and the function that fills them."""

    columns: tuple[Column, ...]
    fill: Callable[[Any, float], Sequence[Cell]]
    # What a row says of its object beside the cells, as meta/v1 TableRowConditions in JSON.
    conditions: Callable[[Any], list[dict[str, str]]] | None = None

    def row(self, obj: Message, now: float) -> list[Cell]:
        """Return one cell a column; `now` is in unix seconds, for ages."""
        return list(self.fill(obj, now))


def columns(
    *names: str, wide: Sequence[str] = (), integers: Sequence[str] = (), booleans: Sequence[str] = ()
) -> tuple[Column, ...]:
    """Make columns from their names, the object's name first; `wide` ones are for wide tables, in place."""
    rest = (
        Column(
            name,
            "integer" if name in integers else "boolean" if name in booleans else "string",
            priority=1 if name in wide else 0,
        )
        for name in names
    )
    return (Column("Name", format="name"), *rest)


def age_of(obj: Any, now: float) -> str:
    """How long the object has existed."""
    return age(obj.metadata.creation_timestamp, now)


def or_none(text: str) -> str:
    """The text, or the mark for "nothing there"."""
    return text or NONE


def container_cells(spec: corev1.PodSpec) -> tuple[str, str]:
    """Names and images of the containers of a template."""
    names = ",".join(container.name for container in spec.containers)
    return names, ",".join(container.image for container in spec.containers)


def selector_cell(selector: Any) -> str:
    """A selector as text, of labels or of requirements."""
    if not hasattr(selector, "match_labels"):
        return format_labels(selector)
    try:
        return or_none(str(Selector.of(selector)))
    except SelectorError:
        return "<error>"


def first_of(items: Sequence[str], limit: int = 3) -> str:
    """The first few items, and how many more there are."""
    shown = ",".join(items[:limit])
    return f"{shown} + {len(items) - limit} more..." if len(items) > limit else shown
