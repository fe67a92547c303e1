"""What the shim remembers on disk: one small JSON file for each sandbox and container.

A record is written before the first thing is made for it, so after a kill at any step the file leads to
everything that may exist; and replaced atomically, so a reader sees the old or the new. It isn't synced: after a
power failure the processes and mounts that it speaks of are gone as well, and an empty record counts as none.
"""

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from navarch.protos.cri import v1_pb2 as criv1

M = TypeVar("M", bound=Message)


class SandboxPhase(enum.StrEnum):
    """CREATING is a leftover when read after a restart. LOST: what was made of it is no longer all there.

    Its namespaces went with a restart of the host, its init was killed, or it was never finished and its network
    resists being undone.
    """

    CREATING = "creating"
    READY = "ready"
    LOST = "lost"
    STOPPED = "stopped"


class ContainerPhase(enum.StrEnum):
    """CREATING is a leftover when read after a restart. From EXITED there is no way back."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(slots=True)
class SandboxRecord:
    """A sandbox. network: configuration, capabilities and result of CNI's ADD, {} before it began."""

    id: str
    config: criv1.PodSandboxConfig
    created_at_ns: int
    runtime_handler: str = ""
    phase: SandboxPhase = SandboxPhase.CREATING
    ips: tuple[str, ...] = ()
    network: dict[str, Any] = field(default_factory=dict)
    # The parent group did not exist before: it goes with the sandbox.
    owns_cgroup: bool = False
    # Of its init, where it has one.
    pid: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "config": _to_json(self.config),
            "createdAt": self.created_at_ns,
            "runtimeHandler": self.runtime_handler,
            "phase": self.phase,
            "ips": self.ips,
            "network": self.network,
            "ownsCgroup": self.owns_cgroup,
            "pid": self.pid,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "SandboxRecord":
        """From `document`. Raises one of UNREADABLE for what is none."""
        return cls(
            document["id"],
            _from_json(document["config"], criv1.PodSandboxConfig),
            document["createdAt"],
            document["runtimeHandler"],
            SandboxPhase(document["phase"]),
            tuple(document["ips"]),
            document["network"],
            document["ownsCgroup"],
            document.get("pid", 0),
        )


@dataclass(slots=True)
class ContainerRecord:
    """A container. Times in unix nanoseconds, 0: not yet."""

    id: str
    sandbox_id: str
    config: criv1.ContainerConfig
    created_at_ns: int
    image_id: str = ""
    image_ref: str = ""
    cgroup_path: str = ""
    log_path: str = ""
    stop_signal: int = 15
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    phase: ContainerPhase = ContainerPhase.CREATING
    pid: int = 0
    started_at_ns: int = 0
    finished_at_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        document: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        document["config"] = _to_json(self.config)
        return document

    @classmethod
    def read(cls, document: dict[str, Any]) -> "ContainerRecord":
        """From `document`. Raises one of UNREADABLE for what is none."""
        # What a later version has written is no reason to lose a container.
        record = cls(**{name: value for name, value in document.items() if name in cls.__slots__})
        record.config = _from_json(document["config"], criv1.ContainerConfig)
        record.phase = ContainerPhase(record.phase)
        record.groups = tuple(record.groups)
        return record


UNREADABLE = (orjson.JSONDecodeError, json_format.ParseError, AttributeError, KeyError, TypeError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class StateDir:
    """The folder of the shim's records, and the places of everything below it."""

    root: Path

    def sandbox(self, sandbox_id: str) -> Path:
        """Pinned namespaces, /dev/shm, and files that all containers of the sandbox see."""
        return self.root / "sandboxes" / sandbox_id

    def container(self, container_id: str) -> Path:
        """The pipes of its output."""
        return self.root / "containers" / container_id

    def save(self, record: SandboxRecord | ContainerRecord) -> None:
        """Write or replace a record."""
        folder = self.sandbox(record.id) if isinstance(record, SandboxRecord) else self.container(record.id)
        write_atomically(folder / "record.json", orjson.dumps(record.document()))

    def sandboxes(self) -> Iterator[tuple[str, SandboxRecord | None]]:
        """All sandboxes by id; None where the record can't be read."""
        for folder in _folders(self.root / "sandboxes"):
            try:
                yield folder.name, SandboxRecord.read(orjson.loads((folder / "record.json").read_bytes()))
            except UNREADABLE:
                yield folder.name, None

    def containers(self) -> Iterator[tuple[str, ContainerRecord | None]]:
        """All containers by id; None where the record can't be read."""
        for folder in _folders(self.root / "containers"):
            try:
                yield folder.name, ContainerRecord.read(orjson.loads((folder / "record.json").read_bytes()))
            except UNREADABLE:
                yield folder.name, None


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that no reader ever sees half of it. An OSError names it."""
    temporary = path.with_suffix(".new")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as failure:
        temporary.unlink(missing_ok=True)
        raise OSError(failure.errno, failure.strerror, str(path)) from failure


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _to_json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _from_json(document: dict[str, Any], kind: type[M]) -> M:
    return json_format.ParseDict(document, kind(), ignore_unknown_fields=True)
