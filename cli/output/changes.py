"""What differs between two states of an object: in a few words, or as a unified diff of their YAML."""

import difflib
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from navarch.services.api import codec, yaml_text

# Changes with every write, or is bookkeeping about writes.
_NOISE = ("resourceVersion", "managedFields")
_WORDS = 3
_VALUE_CHARS = 40
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def document(one: Message | None) -> dict[str, Any]:
    """The JSON of an object, without what says nothing of it; {} for none."""
    if one is None:
        return {}
    found = codec.to_json(one)
    for name in _NOISE:
        found["metadata"].pop(name, None)
    return found


def in_short(before: Message | None, after: Message | None) -> str:
    """One line: the first few fields that differ, and how many more do."""
    if before is None or after is None:
        return "deleted" if after is None else "created"
    found = list(_differences("", document(before), document(after)))
    more = f"; {len(found) - _WORDS} more" if len(found) > _WORDS else ""
    return "; ".join(found[:_WORDS]) + more if found else "nothing"


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            yield from _differences(f"{path}.{name}" if path else name, before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{path}{_place(index, one, other)}", one, other)
    elif before is None:
        yield f"+{path}{_value('=', after)}"
    elif after is None:
        yield f"-{path}"
    else:
        yield f"{path}{_value('=', before)}{_value('->', after)}" if _value("", before) else path


def _place(index: int, one: Any, other: Any) -> str:
    """An item of a list: by its name or type, where it has one and keeps it."""
    for name in ("name", "type"):
        if isinstance(one, dict) and isinstance(other, dict) and one.get(name) == other.get(name) is not None:
            return f"[{one[name]}]"
    return f"[{index}]"


def _value(mark: str, value: Any) -> str:
    """A scalar behind a mark; nothing for what does not fit into a few words."""
    if isinstance(value, (dict, list)) or len(str(value)) > _VALUE_CHARS or "\n" in str(value):
        return ""
    return f"{mark}{str(value).lower() if isinstance(value, bool) else value}"


def unified(before: Message | None, after: Message | None, title: str, other_title: str) -> list[str]:
    """The lines of a diff; none where there is no difference."""
    old, new = (yaml_text.dump(found).splitlines() if (found := document(one)) else [] for one in (before, after))
    return list(difflib.unified_diff(old, new, title, other_title, lineterm=""))


def print_diff(lines: list[str], *, coloured: bool) -> None:
    """Print a diff."""
    if not coloured:
        print("\n".join(lines))
        return
    # Takes a while to import, and output mostly goes elsewhere.
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        style = "bold" if line.startswith(("+++", "---")) else _STYLES.get(line[:1], "")
        console.print(Text(line, style), soft_wrap=True)
