"""Reads image archives: OCI layouts and the output of `docker save`, plain, gzip'ed or zstd'ed.

Nothing is unpacked to disk here: members are looked up by name and read as streams, so that no path of the
archive is ever joined to one of ours. Blobs of a docker archive are named by what they hash to; its manifest is
built here.
"""

import asyncio
import hashlib
import posixpath
import tarfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import orjson

from navarch.runtime_shim.containerd.images import model
from navarch.runtime_shim.containerd.images.model import Descriptor
from navarch.runtime_shim.errors import InvalidArgument

CHUNK_BYTES = 1 << 20
# What a compressed archive may grow to: beyond it is a mistake, or a trap.
EXPANDED_BYTES = 256 << 30
# Images have some hundred layers.
MOST_MEMBERS = 100_000
# Links to links; `docker save` makes one step.
LINKS_IN_A_ROW = 8
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image of an archive: the names it goes by, and its manifest (or index)."""

    names: tuple[str, ...]
    target: Descriptor


class Archive:
    """An open archive: images, and the blobs that they are made of."""

    def __init__(self, path: Path) -> None:
        """Read the table of contents. Raises InvalidArgument for what is no image archive."""
        self.images: list[ArchivedImage] = []
        # Made here: manifests of docker archives.
        self.documents: dict[str, bytes] = {}
        self._members: dict[str, tarfile.TarInfo] = {}
        self._by_digest: dict[str, tarfile.TarInfo] = {}
        self._file = _seekable(path)
        try:
            self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], _Wary(self._file)))
            members = {_clean(member.name): member for member in self._listed()}
            self._members = {name: file for name in members if (file := _file(members, name)) is not None}
            if "index.json" in self._members:
                self._read_layout()
            elif "manifest.json" in self._members:
                self._read_docker()
            else:
                raise InvalidArgument("not an image archive: it has neither index.json nor manifest.json")
        except (tarfile.TarError, EOFError, OSError) as failure:
            self._file.close()
            raise InvalidArgument(f"not a readable tar archive: {failure}") from None
        except InvalidArgument:
            self._file.close()
            raise

    def _listed(self) -> Iterator[tarfile.TarInfo]:
        for number, member in enumerate(self._tar):
            if number == MOST_MEMBERS:
                raise InvalidArgument(f"not an image archive: it has more than {MOST_MEMBERS} members")
            yield member

    def size(self, digest: str) -> int:
        """Bytes of a blob. Raises InvalidArgument where the archive lacks it."""
        return len(self.documents[digest]) if digest in self.documents else self._member(digest).size

    def has(self, digest: str) -> bool:
        """Whether the blob is here; indexes may name other platforms' images that are not."""
        return digest in self.documents or digest in self._by_digest or _blob_path(digest) in self._members

    async def stream(self, target: Descriptor, offset: int) -> AsyncGenerator[bytes]:
        """The bytes of a blob from an offset on, in pieces."""
        blob = self._stream(self._member(target.digest))
        blob.seek(offset)
        while chunk := await asyncio.to_thread(blob.read, CHUNK_BYTES):
            yield chunk

    def document(self, digest: str) -> bytes:
        """A small blob whole. Raises InvalidArgument where its digest is not its name."""
        if digest in self.documents:
            return self.documents[digest]
        data = self._small(self._member(digest))
        if model.digest_of(data) != digest:
            raise InvalidArgument(f"corrupt archive: the blob {digest} has the digest {model.digest_of(data)}")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_layout(self) -> None:
        index = model.parse_json(self._small(self._members["index.json"]), "index.json")
        by_target: dict[str, tuple[Descriptor, list[str]]] = {}
        for entry in model.index_entries(index) or ():
            names = by_target.setdefault(entry.digest, (entry, []))[1]
            if name := next((entry.annotations[key] for key in NAME_ANNOTATIONS if entry.annotations.get(key)), ""):
                names.append(name)
        self.images = [ArchivedImage(tuple(names), target) for target, names in by_target.values()]

    def _read_docker(self) -> None:
        try:
            entries = orjson.loads(self._small(self._members["manifest.json"]))
            for entry in entries:
                config = self._blob(model.OCI_CONFIG, entry["Config"])
                layers = tuple(self._blob(model.OCI_LAYER, name) for name in entry["Layers"])
                self.images.append(ArchivedImage(tuple(entry.get("RepoTags") or ()), self._manifest(config, layers)))
        except (orjson.JSONDecodeError, KeyError, TypeError) as failure:
            raise InvalidArgument(f"broken manifest.json: {failure!r}") from None

    def _manifest(self, config: Descriptor, layers: tuple[Descriptor, ...]) -> Descriptor:
        def entry(blob: Descriptor) -> dict[str, object]:
            return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}

        document = {
            "schemaVersion": 2,
            "mediaType": model.OCI_MANIFEST,
            "config": entry(config),
            "layers": [entry(layer) for layer in layers],
        }
        data = orjson.dumps(document)
        digest = model.digest_of(data)
        self.documents[digest] = data
        return Descriptor(model.OCI_MANIFEST, digest, len(data))

    def _blob(self, media_type: str, name: str) -> Descriptor:
        """A member of a docker archive as a blob: hashed, and from now on known by its digest."""
        member = self._members.get(_clean(name))
        if member is None:
            raise InvalidArgument(f"broken archive: manifest.json names {name!r}, which is not in it")
        hasher = hashlib.sha256()
        stream = self._stream(member)
        head = b""
        while chunk := stream.read(CHUNK_BYTES):
            head = head or chunk[:4]
            hasher.update(chunk)
        if media_type == model.OCI_LAYER:
            media_type += "+gzip" if head.startswith(GZIP) else "+zstd" if head.startswith(ZSTD) else ""
        digest = f"sha256:{hasher.hexdigest()}"
        self._by_digest[digest] = member
        return Descriptor(media_type, digest, member.size)

    def _member(self, digest: str) -> tarfile.TarInfo:
        member = self._by_digest.get(digest) or self._members.get(_blob_path(digest))
        if member is None:
            raise InvalidArgument(f"incomplete archive: the blob {digest} is not in it")
        return member

    def _small(self, member: tarfile.TarInfo) -> bytes:
        if member.size > model.DOCUMENT_BYTES:
            raise InvalidArgument(f"{member.name} has {member.size} bytes; a manifest may have {model.DOCUMENT_BYTES}")
        return self._stream(member).read()

    def _stream(self, member: tarfile.TarInfo) -> IO[bytes]:
        stream = self._tar.extractfile(member)
        if stream is None:
            raise InvalidArgument(f"{member.name} is not a file")
        return stream


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)


def _clean(name: str) -> str:
    return posixpath.normpath(name)


def _file(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo | None:
    """The file of that name, also by way of links: older `docker save` writes a layer once, then links to it."""
    for _ in range(LINKS_IN_A_ROW):
        member = members.get(name)
        if member is None or member.isfile():
            return member
        if not (member.islnk() or member.issym()):
            return None
        name = _clean(posixpath.join(posixpath.dirname(name) if member.issym() else "", member.linkname))
    return None


class _Wary:
    """A file that is read in such pieces only as fit into memory, whatever sizes the archive speaks of."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int) -> bytes:
        if not 0 <= size <= model.DOCUMENT_BYTES:
            raise InvalidArgument(f"not an image archive: one of its headers has {size} bytes")
        return self._file.read(size)


def _seekable(path: Path) -> IO[bytes]:
    """The archive uncompressed. A compressed one is expanded beside itself, into a file without a name."""
    source = path.open("rb")
    head = source.read(4)
    source.seek(0)
    if not head.startswith((GZIP, ZSTD)):
        return source
    import tempfile
    import zlib

    import zstandard

    expanded = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - handed to the caller
    try:
        with source:
            _expand(source, head, expanded)
    except (EOFError, OSError, zlib.error, zstandard.ZstdError) as failure:
        expanded.close()
        raise InvalidArgument(f"not a readable archive: {failure}") from None
    expanded.seek(0)
    return expanded


def _expand(source: IO[bytes], head: bytes, target: IO[bytes]) -> None:
    import gzip

    import zstandard

    opened = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    with opened if head.startswith(ZSTD) else gzip.GzipFile(fileobj=source) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            target.write(chunk)
            if target.tell() > EXPANDED_BYTES:
                raise InvalidArgument(f"the archive expands to more than {EXPANDED_BYTES} bytes")
