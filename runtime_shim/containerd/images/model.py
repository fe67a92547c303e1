"""What a manifest and an image configuration say, read from their JSON. OCI and Docker schema 2 alike."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from navarch.runtime_shim.errors import InvalidArgument

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
# Manifests and configurations; layers are never held in memory.
DOCUMENT_BYTES = 8 << 20
# Indexes within indexes.
INDEX_DEPTH = 4
INDEX_TYPES = frozenset((OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"))
MANIFEST_TYPES = frozenset((OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob by content."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    # Of an index's entries only.
    platform: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, entry: dict[str, Any]) -> "Descriptor":
        """From its JSON object. Raises InvalidArgument."""
        try:
            size, more = int(entry["size"]), [entry.get(name) or {} for name in ("annotations", "platform")]
            if size < 0:
                raise ValueError(f"a size of {size} bytes")
            if not all(isinstance(one, dict) for one in more):
                raise TypeError("annotations and platform are objects")
            return cls(str(entry.get("mediaType", "")), checked_digest(entry["digest"]), size, *more)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as failure:
            raise InvalidArgument(f"broken descriptor {entry!r:.300}: {failure!r}") from None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One platform's image: a configuration and layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Manifest":
        """From the manifest's JSON. Raises InvalidArgument, also for the obsolete schema 1."""
        if document.get("schemaVersion") == 1:
            raise InvalidArgument(
                "unsupported manifest: Docker schema 1 is obsolete; push the image again with a tool of today"
            )
        if document.get("schemaVersion") != 2 or "config" not in document:
            raise InvalidArgument("unsupported manifest: only OCI and Docker schema 2 are served")
        listed = document.get("layers") or ()
        if not isinstance(listed, list | tuple):
            raise InvalidArgument(f"broken manifest: layers is {listed!r:.100}, not a list")
        layers = tuple(map(Descriptor.read, listed))
        return cls(Descriptor.read(document["config"]), layers)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an image configuration that running needs."""

    diff_ids: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    # Folders that containers are to write to.
    volumes: tuple[str, ...] = ()

    @classmethod
    def read(cls, document: dict[str, Any]) -> "ImageConfig":
        """From the configuration's JSON. Raises InvalidArgument."""
        rootfs, inner = _object(document, "rootfs"), _object(document, "config")
        if not isinstance(rootfs.get("diff_ids"), list):
            raise InvalidArgument("broken image configuration: it lists no rootfs.diff_ids")
        return cls(
            diff_ids=tuple(map(checked_digest, _strings(rootfs, "diff_ids"))),
            entrypoint=_strings(inner, "Entrypoint"),
            cmd=_strings(inner, "Cmd"),
            env=_strings(inner, "Env"),
            working_dir=_string(inner, "WorkingDir"),
            user=_string(inner, "User"),
            stop_signal=_string(inner, "StopSignal"),
            volumes=tuple(_object(inner, "Volumes")),
        )


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A member of a configuration; {} where it is absent or null, as for all of these. Raises InvalidArgument."""
    return _member(document, name, dict) or {}


def _string(document: dict[str, Any], name: str) -> str:
    return _member(document, name, str) or ""


def _strings(document: dict[str, Any], name: str) -> tuple[str, ...]:
    values = _member(document, name, list) or []
    if not all(isinstance(value, str) for value in values):
        raise InvalidArgument(f"broken image configuration: {name} is {values!r:.100}, not a list of strings")
    return tuple(values)


def _member(document: dict[str, Any], name: str, kind: type[T]) -> T | None:
    value = document.get(name)
    if value is not None and not isinstance(value, kind):
        raise InvalidArgument(f"broken image configuration: {name} is {value!r:.100}, not of type {kind.__name__}")
    return value


def digest_of(data: bytes) -> str:
    """The sha256 digest by which a blob is named."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def checked_digest(text: str) -> str:
    """The digest itself. Raises InvalidArgument: digests become parts of paths and keys."""
    algorithm, _, value = text.partition(":") if isinstance(text, str) else ("", "", "")
    if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise InvalidArgument(f"unsupported digest {text!r}: expected sha256:<64 hexadecimal digits>")
    return text


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The name of each layer's snapshot: it stands for the layer on top of all those below (OCI image spec)."""
    chains: list[str] = []
    for diff_id in diff_ids:
        chains.append(digest_of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return chains


def index_entries(document: dict[str, Any]) -> list[Descriptor] | None:
    """The entries of an index; None for a manifest. Raises InvalidArgument for what could be read as both."""
    if "manifests" not in document:
        return None
    if "layers" in document or "config" in document:
        raise InvalidArgument("broken image: a document that is an index and a manifest at once")
    entries = document["manifests"]
    if not isinstance(entries, list):
        raise InvalidArgument("broken index: manifests is not a list")
    return [Descriptor.read(entry) for entry in entries]


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises InvalidArgument naming what was being read."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as failure:
        raise InvalidArgument(f"{what} is not JSON: {failure}") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"{what} is not a JSON object")
    return document
