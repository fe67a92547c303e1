"""The objects in files, directories and standard input, in their order."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from navarch.cli.errors import UsageError
from navarch.cli.targets import Target
from navarch.services.api import manifest
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.api.meta import metadata_of

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a manifest: as a message, as it was written, and where."""

    kind: Kind
    message: Message
    content: dict[str, Any]
    place: str

    @property
    def name(self) -> str:
        """metadata.name."""
        return metadata_of(self.message).name

    @property
    def namespace(self) -> str:
        """metadata.namespace, empty when the manifest names none."""
        return metadata_of(self.message).namespace

    def target(self, default_namespace: str) -> Target:
        """The object it means. Raises UsageError when it names none."""
        if not self.name:
            raise UsageError(f"{self.place}: metadata.name is required here")
        return Target(self.kind, self.name, self.namespace).within(self.namespace or default_namespace)


def load(names: Iterable[str], recursive: bool = False) -> Iterator[Manifest | UsageError]:
    """Each object, or what is wrong with it; a bad document does not hide the good ones."""
    for source, text in _texts(names, recursive):
        if isinstance(text, UsageError):
            yield text
            continue
        documents = manifest.load(text, source)
        if not documents:
            yield UsageError(f"{source}: no objects in it")
        for document in documents:
            if document.error is not None:
                yield UsageError(str(document.error))
            elif document.message is not None and document.value is not None:
                yield _manifest(document, document.message, document.value)


def _manifest(document: manifest.Document, message: Message, value: dict[str, Any]) -> Manifest:
    kind = KINDS.of(message)
    name = metadata_of(message).name or metadata_of(message).generate_name
    place = f'{document.source}:{document.line}: document {document.index}, {kind.kind} "{name}"'
    return Manifest(kind, message, value, place)


def require_all(names: Iterable[str], recursive: bool = False) -> list[Manifest]:
    """All objects. Raises the first error."""
    found = []
    for one in load(names, recursive):
        if isinstance(one, UsageError):
            raise one
        found.append(one)
    return found


def _texts(names: Iterable[str], recursive: bool) -> Iterator[tuple[str, bytes | UsageError]]:
    for name in names:
        if name == "-":
            yield "standard input", sys.stdin.buffer.read()
            continue
        path = Path(name)
        if not path.is_dir():
            yield name, _content(path)
            continue
        found = path.rglob("*") if recursive else path.iterdir()
        files = sorted(file for file in found if file.suffix in SUFFIXES and file.is_file())
        if not files:
            yield name, UsageError(f"{name}: no .yaml, .yml or .json files in this directory")
        yield from ((str(file), _content(file)) for file in files)


def _content(path: Path) -> bytes | UsageError:
    try:
        return path.read_bytes()
    except OSError as error:
        return UsageError(f"cannot read {path}: {error.strerror}")
