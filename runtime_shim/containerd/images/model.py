"""What a manifest and an image configuration say, read from their JSON. OCI and Docker schema 2 alike."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), platform.machine())


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
            size = int(entry["size"])
            if size < 0:
                raise ValueError(f"a size of {size} bytes")
            return cls(
                str(entry.get("mediaType", "")),
                checked_digest(entry["digest"]),
                size,
                entry.get("annotations") or {},
                entry.get("platform") or {},
            )
        except (KeyError, TypeError, ValueError) as failure:
            raise InvalidArgument(f"broken descriptor {entry!r}: {failure!r}") from None


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
        layers = tuple(Descriptor.read(layer) for layer in document.get("layers") or ())
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
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    architecture: str = ""

    @classmethod
    def read(cls, document: dict[str, Any]) -> "ImageConfig":
        """From the configuration's JSON. Raises InvalidArgument."""
        inner = document.get("config") or {}
        diff_ids = (document.get("rootfs") or {}).get("diff_ids")
        if not isinstance(diff_ids, list):
            raise InvalidArgument("broken image configuration: it lists no rootfs.diff_ids")
        return cls(
            diff_ids=tuple(map(checked_digest, diff_ids)),
            entrypoint=tuple(inner.get("Entrypoint") or ()),
            cmd=tuple(inner.get("Cmd") or ()),
            env=tuple(inner.get("Env") or ()),
            working_dir=inner.get("WorkingDir") or "",
            user=inner.get("User") or "",
            stop_signal=inner.get("StopSignal") or "",
            volumes=tuple(inner.get("Volumes") or ()),
            labels=inner.get("Labels") or {},
            architecture=document.get("architecture") or "",
        )


def digest_of(data: bytes) -> str:
    """The sha256 digest by which a blob is named."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def checked_digest(text: str) -> str:
    """The digest itself. Raises InvalidArgument: digests become parts of paths and keys."""
    algorithm, _, value = text.partition(":")
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
