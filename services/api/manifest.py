"""Manifests: YAML or JSON text with any number of objects.

Each document gives its message, or the one error that keeps it from being used; a bad document among good
ones spoils only itself. Errors name the source, line and column, the document's number, the object and the
field. Reading is strict: unknown and duplicate fields are errors, so a typo never becomes a default. Lists
("v1 List", "PodList") stand for their items.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from navarch.services.api import codec
from navarch.services.api.codec import DecodeError, StrictError
from navarch.services.api.custom import objects
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.api.yaml_text import Mark, Tree, YamlError, parse

_SEPARATOR: Final = re.compile(r"---(?:\s.*)?$")
_IGNORED: Final = re.compile(r"\s*(#.*)?$|%.*$|\.\.\.\s*$|---\s*(#.*)?$")
_FIELD_OF_PROBLEM: Final = re.compile(r'field "(.*)"$')


class ManifestError(Exception):
    """Why a document cannot be used, and where that is."""

    def __init__(self, source: str, document: int, mark: Mark, subject: str, field: str, detail: str) -> None:
        self.source = source
        self.document = document
        self.line, self.column = mark
        self.subject = subject
        self.field = field
        self.detail = detail
        where = f"document {document}" + (f", {subject}" if subject else "")
        super().__init__(f"{source}:{self.line}:{self.column}: {where}: {detail}")


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a manifest: where it is, and the message or the error."""

    source: str
    # Number of the document in its source, from one; the items of a list share theirs.
    index: int
    line: int
    message: Message | None
    error: ManifestError | None
    # The object as it was written, for patches; None where it could not be read at all.
    value: dict[str, Any] | None

    @property
    def object(self) -> Message:
        """The message. Raises the error where there is none."""
        if self.error is not None:
            raise self.error
        return self.message  # type: ignore[return-value]  # there is one where there is no error


def load(text: str | bytes, source: str = "stdin") -> list[Document]:
    """Every object of a manifest, in order. Never raises for bad input: see Document.error."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            mark = Mark(error.object.count(b"\n", 0, error.start) + 1, 1)
            problem = ManifestError(source, 1, mark, "", "", f"the text is not UTF-8: {error.reason}")
            return [Document(source, 1, mark.line, None, problem, None)]
    # Half characters, which Python lets a string hold, could not be encoded later on.
    text = text.removeprefix("\ufeff").encode("utf-8", "replace").decode()
    documents: list[Document] = []
    for index, (line, part) in enumerate(_parts(text), start=1):
        documents.extend(_Reader(source, index, line).read(part))
    return documents


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first line, text) of each document that has content."""
    start = 1
    lines: list[str] = []
    *full, last = text.split("\n")
    for number, line in enumerate([*(line + "\n" for line in full), last, "---"], start=1):
        if _SEPARATOR.match(line) and lines:
            if not all(_IGNORED.match(item) for item in lines):
                yield start, "".join(lines)
            lines = []
        if not lines:
            start = number
        lines.append(line)


class _Reader:
    """Reads one document of one source."""

    def __init__(self, source: str, index: int, line: int) -> None:
        self._source, self._index, self._line = source, index, line

    def read(self, text: str) -> Iterator[Document]:
        for line, tree in self._trees(text):
            if isinstance(tree, YamlError):
                yield self._failed(tree.mark, "", "", str(tree), None)
            elif tree.value is not None:
                self._line = line
                yield from self._objects(tree, tree.value, "", "")

    def _trees(self, text: str) -> Iterator[tuple[int, Tree | YamlError]]:
        """The values in the text: one in YAML, any number in JSON."""
        if text.lstrip().startswith("{"):
            values = list(_json_values(text, self._line))
            if values:
                yield from values
                return
        try:
            yield self._line, parse(text, self._line)
        except YamlError as error:
            yield self._line, error

    def _objects(self, tree: Tree, value: Any, path: str, default_kind: str) -> Iterator[Document]:
        if not isinstance(value, dict):
            yield self._failed(tree.mark(path), "", path, f"found {codec.describe(value)}, expected an object", None)
            return
        kind = value.get("kind") or default_kind
        items = value.get("items")
        if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
            item_kind = kind.removesuffix("List")
            for number, item in enumerate(items):
                if isinstance(item, dict) and item_kind and "kind" not in item:
                    item = {"apiVersion": value.get("apiVersion"), "kind": item_kind, **item}
                yield from self._objects(tree, item, f"{path}.items[{number}]" if path else f"items[{number}]", "")
            return
        yield self._object(tree, value, path)

    def _object(self, tree: Tree, value: dict[str, Any], path: str) -> Document:
        subject = _subject(value)
        try:
            api_version, kind = value.get("apiVersion"), value.get("kind")
            row: Kind | None = None
            if isinstance(api_version, str) and isinstance(kind, str) and api_version and kind:
                row = KINDS.by_gvk(api_version, kind)
            if row is not None and row.is_custom:
                message: Message = objects.from_json(deepcopy(value), row, strict=True)
            else:
                message = codec.from_json(value, strict=True)
        except StrictError as error:
            fields = [_field(problem) for problem in error.problems]
            return self._failed(tree.mark(_join(path, fields[0])), subject, fields[0], ", ".join(error.problems), value)
        except DecodeError as error:
            return self._failed(tree.mark(_join(path, error.path)), subject, error.path, error.message, value)
        except ApiError as error:
            return self._failed(tree.mark(path), subject, "", error.message, value)
        return Document(self._source, self._index, tree.mark(path).line, message, None, value)

    def _failed(self, mark: Mark, subject: str, field: str, detail: str, value: dict[str, Any] | None) -> Document:
        error = ManifestError(self._source, self._index, mark, subject, field, detail)
        return Document(self._source, self._index, mark.line, None, error, value)


def _json_values(text: str, first_line: int) -> Iterator[tuple[int, Tree | YamlError]]:
    """The JSON values of a text, one after the other; nothing where it does not begin as JSON does."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    position, found = 0, 0
    while position < len(text):
        if text[position] in " \t\r\n":
            position += 1
            continue
        line = first_line + text.count("\n", 0, position)
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            if found:
                yield line, YamlError(error.msg, Mark(first_line + error.lineno - 1, error.colno))
            return
        except (ValueError, RecursionError) as error:
            yield line, YamlError(f"invalid JSON: {error}", Mark(line, 1))
            return
        yield line, _marked(text[position:end], value, line)
        position, found = end, found + 1


def _marked(text: str, value: Any, line: int) -> Tree:
    """A JSON value with the places that the YAML reader finds in its text, where it can read it."""
    try:
        return Tree(value, parse(text, line).marks)
    except YamlError:
        return Tree(value, {"": Mark(line, 1)})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ValueError(f'key "{key}" already set in object')
        members[key] = value
    return members


def _no_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def _subject(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    name = (metadata.get("name") or metadata.get("generateName")) if isinstance(metadata, dict) else None
    kind = value.get("kind")
    return " ".join([*([kind] if isinstance(kind, str) else []), *([f'"{name}"'] if isinstance(name, str) else [])])


def _field(problem: str) -> str:
    match = _FIELD_OF_PROBLEM.search(problem)
    return match[1] if match else ""


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field else path or field
