"""Which images there are, and what each consists of.

containerd's image records are the truth: a name and the digest of a manifest or index. CRI groups them by image
id, the digest of the configuration. What a digest leads to never changes, so it is read once and kept while some
record names it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.services.images import v1_pb2 as imagesv1
from navarch.runtime_shim import errors, reference
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content, model, platforms
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest
from navarch.runtime_shim.reference import Reference

# What marks a record as one that CRI manages, for us and for containerd's own CRI plugin.
MANAGED = {"io.cri-containerd.image": "managed"}
PINNED = {"io.cri-containerd.pinned": "pinned"}


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What a manifest's digest leads to. All of it is fixed by that digest."""

    target_digest: str
    # sha256:..., the digest of the configuration.
    image_id: str
    manifest: Manifest
    # The top layer's snapshot; "" for an image without layers.
    chain_id: str
    size_bytes: int
    config: ImageConfig
    config_json: bytes


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as CRI sees it: one id, any number of names."""

    content: ImageContent
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    pinned: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all containerd records of this image."""
        return self.tags + self.digests


class Catalog:
    """Reads image records; resolves names and ids."""

    def __init__(self, client: ContainerdClient) -> None:
        self._client = client
        self._contents: dict[str, ImageContent] = {}
        # Digests that lead to no image.
        self._refused: set[str] = set()

    async def list(self) -> list[ImageRecord]:
        """All images whose content is complete enough to be named, sorted by id."""
        records = (await self._client.images.List(imagesv1.ListImagesRequest())).images
        found: dict[str, tuple[ImageContent, list[imagesv1.Image]]] = {}
        for record in records:
            if record.target.digest in self._refused:
                continue
            try:
                resolved = await self.content(record.target.digest)
            except errors.InvalidArgument:
                self._refused.add(record.target.digest)
                continue
            except errors.NotFound:
                continue  # Half removed, or for another platform; the rest may come.
            found.setdefault(resolved.image_id, (resolved, []))[1].append(record)
        named = {record.target.digest for record in records}
        self._contents = {digest: known for digest, known in self._contents.items() if digest in named}
        self._refused &= named
        return [_record(*found[image_id]) for image_id in sorted(found)]

    async def find(self, name: str) -> ImageRecord | None:
        """The image of a name, an id, or the beginning of an id; or None.

        Raises InvalidArgument for what can't be a name, and for a beginning that several ids have.
        """
        wanted_id = reference.image_id(name)
        full_name = "" if wanted_id else str(reference.parse(name))
        records = await self.list()
        for record in records:
            if record.content.image_id == wanted_id or full_name in record.names:
                return record
        prefix = reference.id_prefix(name)
        abbreviated = [record for record in records if prefix and record.content.image_id.startswith(prefix)]
        if len(abbreviated) > 1:
            raise errors.InvalidArgument(f"the id {name!r} stands for {len(abbreviated)} images")
        return abbreviated[0] if abbreviated else None

    async def resolve(self, name: str) -> ImageContent:
        """What a container of this image needs. Raises NotFound."""
        if not reference.image_id(name):
            try:
                return await self.content(await self._target(str(reference.parse(name))))
            except errors.NotFound:
                pass  # A digest of a repository that was pulled by tag is found below.
        record = await self.find(name)
        if record is None:
            raise errors.NotFound(f"image {name!r} is not present")
        return record.content

    async def content(self, digest: str) -> ImageContent:
        """What the manifest or index of that digest leads to on this platform."""
        known = self._contents.get(digest)
        if known is None:
            known = self._contents[digest] = await self._read(digest)
        return known

    async def name(
        self, image_id: str, target: Descriptor, names: Iterable[Reference], pinned: Collection[str] = ()
    ) -> None:
        """Let each name, the same with the digest, and the image's id mean `target` from now on.

        The id and the digest stay when a tag moves on: an image in use is not lost for being old.
        """
        names = list(names)
        records = {image_id, *map(str, names), *(f"{name.repository}@{target.digest}" for name in names)}
        labels = dict(MANAGED)
        if any(str(name) in pinned for name in names):
            labels |= PINNED
        for record in sorted(records):
            await self._put(record, target, labels)

    async def _put(self, name: str, target: Descriptor, labels: Mapping[str, str]) -> None:
        descriptor = containerd_types.Descriptor(media_type=target.media_type, digest=target.digest, size=target.size)
        image = imagesv1.Image(name=name, target=descriptor, labels=labels)
        try:
            await self._client.images.Create(imagesv1.CreateImageRequest(image=image))
        except errors.AlreadyExists:
            update = imagesv1.UpdateImageRequest(image=image)
            # Labels of others stay.
            update.update_mask.paths.extend(("target", *(f"labels.{label}" for label in labels)))
            await self._client.images.Update(update)

    async def remove(self, names: Iterable[str]) -> None:
        """Forget these names; what nothing refers to any more is collected before the last one returns."""
        for name in names:
            try:
                await self._client.images.Delete(imagesv1.DeleteImageRequest(name=name, sync=True))
            except errors.NotFound:
                continue

    async def _manifest(self, digest: str, depth: int) -> tuple[int, dict[str, Any]]:
        """Size and text of the manifest that an index leads to, or of the manifest itself."""
        data = await content.read(self._client, digest)
        document = model.parse_json(data, f"manifest {digest}")
        entries = model.index_entries(document)
        if entries is None:
            return len(data), document
        for entry in platforms.ranked(entries) if depth else ():
            try:
                return await self._manifest(entry.digest, depth - 1)
            except errors.NotFound:
                continue  # An archive may lack the best match.
        raise errors.NotFound(f"the index {digest} leads to no image that is present")

    async def _target(self, name: str) -> str:
        answer = await self._client.images.Get(imagesv1.GetImageRequest(name=name))
        digest: str = answer.image.target.digest
        return digest

    async def _read(self, digest: str) -> ImageContent:
        manifest_size, document = await self._manifest(digest, model.INDEX_DEPTH)
        manifest = Manifest.read(document)
        config_json = await content.read(self._client, manifest.config.digest)
        config = ImageConfig.read(model.parse_json(config_json, f"image configuration {manifest.config.digest}"))
        chains = model.chain_ids(config.diff_ids)
        size = manifest_size + manifest.config.size + sum(layer.size for layer in manifest.layers)
        top = chains[-1] if chains else ""
        return ImageContent(digest, manifest.config.digest, manifest, top, size, config, config_json)


def _record(resolved: ImageContent, records: list[imagesv1.Image]) -> ImageRecord:
    names = sorted(record.name for record in records)
    tags = tuple(name for name in names if "@" not in name and not reference.image_id(name))
    digests = tuple(name for name in names if "@" in name)
    # A name pulled by tag may also be used by its digest.
    implied = {
        f"{name.rpartition(':')[0]}@{record.target.digest}" for record in records if (name := record.name) in tags
    }
    pinned = any(PINNED.items() <= record.labels.items() for record in records)
    return ImageRecord(resolved, tags, tuple(sorted({*digests, *implied})), pinned)
