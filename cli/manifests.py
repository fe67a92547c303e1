"""The objects in files, directories and standard input, in their order."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from navarch.cli.cluster.layout import UsageError
from navarch.services.api import manifest
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.api.meta import metadata_of

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a manifest: as a message, and as it was written."""

    kind: Kind
    message: Message
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """metadata.name."""
        return metadata_of(self.message).name

    @property
    def namespace(self) -> str:
        """metadata.namespace, empty when the manifest names none."""
        return metadata_of(self.message).namespace


def load(names: Iterable[str]) -> Iterator[Manifest | Exception]:
    """Each object, or what is wrong with it; a bad document does not hide the good ones."""
    for source, text in _texts(names):
        for document in manifest.load(text, source):
            if document.message is None or document.value is None:
                yield document.error or UsageError(f"{source}: document {document.index} is empty")
            else:
                yield Manifest(KINDS.of(document.message), document.message, document.value)


def require_all(names: Iterable[str]) -> list[Manifest]:
    """All objects. Raises the first error."""
    found = []
    for one in load(names):
        if isinstance(one, Exception):
            raise UsageError(str(one)) from one
        found.append(one)
    return found


def _texts(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(name)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            if not files:
                raise UsageError(f"{name}: no .yaml, .yml or .json files in this directory")
            for file in files:
                yield str(file), file.read_text()
        else:
            yield name, path.read_text()
