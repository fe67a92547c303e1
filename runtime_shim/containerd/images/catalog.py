"""Which images there are, and what each consists of.

containerd's image records are the truth: a name and the digest of a manifest or index. CRI groups them by image
id, the digest of the configuration. What a digest leads to never changes, so it is read once and kept while some
record names it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.services.images import v1_pb2 as imagesv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content, model, reference
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What a manifest's digest leads to. All of it is fixed by that digest."""

    target_digest: str
    # sha256:..., the digest of the configuration.
    image_id: str
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

    async def list(self) -> list[ImageRecord]:
        """All images whose content is complete enough to be named, sorted by id."""
        records = (await self._client.images.List(imagesv1.ListImagesRequest())).images
        found: dict[str, tuple[ImageContent, list[imagesv1.Image]]] = {}
        for record in records:
            try:
                resolved = await self.content(record.target.digest)
            except (errors.NotFound, errors.InvalidArgument):
                continue  # Half removed, for another platform, or not an image at all.
            found.setdefault(resolved.image_id, (resolved, []))[1].append(record)
        named = {record.target.digest for record in records}
        self._contents = {digest: known for digest, known in self._contents.items() if digest in named}
        return [_record(*found[image_id]) for image_id in sorted(found)]

    async def find(self, name: str) -> ImageRecord | None:
        """The image of a name or id, or None. Raises InvalidArgument for what can't be a name."""
        wanted_id = reference.image_id(name)
        parsed = None if wanted_id else reference.parse(name)
        for record in await self.list():
            if record.content.image_id == wanted_id or (parsed and _matches(record, parsed)):
                return record
        return None

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

    async def put(self, name: str, target: Descriptor, labels: Mapping[str, str]) -> None:
        """Let `name` mean `target` from now on."""
        descriptor = containerd_types.Descriptor(media_type=target.media_type, digest=target.digest, size=target.size)
        image = imagesv1.Image(name=name, target=descriptor, labels=dict(labels))
        try:
            await self._client.images.Create(imagesv1.CreateImageRequest(image=image))
        except errors.AlreadyExists:
            await self._client.images.Update(imagesv1.UpdateImageRequest(image=image))

    async def remove(self, names: Iterable[str]) -> None:
        """Forget these names; what nothing refers to any more is collected before the last one returns."""
        for name in names:
            try:
                await self._client.images.Delete(imagesv1.DeleteImageRequest(name=name, sync=True))
            except errors.NotFound:
                continue

    async def _target(self, name: str) -> str:
        answer = await self._client.images.Get(imagesv1.GetImageRequest(name=name))
        digest: str = answer.image.target.digest
        return digest

    async def _read(self, digest: str) -> ImageContent:
        document = model.parse_json(await content.read(self._client, digest), f"manifest {digest}")
        manifest_digest, manifest_size = digest, 0
        if "manifests" in document:
            chosen = model.choose_platform(map(Descriptor.read, document["manifests"]))
            manifest_digest, manifest_size = chosen.digest, chosen.size
            document = model.parse_json(await content.read(self._client, manifest_digest), f"manifest {chosen.digest}")
        manifest = Manifest.read(document)
        config_json = await content.read(self._client, manifest.config.digest)
        config = ImageConfig.read(model.parse_json(config_json, f"image configuration {manifest.config.digest}"))
        chains = model.chain_ids(config.diff_ids)
        size = manifest_size + manifest.config.size + sum(layer.size for layer in manifest.layers)
        return ImageContent(digest, manifest.config.digest, chains[-1] if chains else "", size, config, config_json)


def _record(resolved: ImageContent, records: list[imagesv1.Image]) -> ImageRecord:
    names = sorted(record.name for record in records)
    tags = tuple(name for name in names if "@" not in name and not reference.image_id(name))
    digests = tuple(name for name in names if "@" in name)
    # A name pulled by tag may also be used by its digest.
    implied = {
        f"{name.rpartition(':')[0]}@{record.target.digest}" for record in records if (name := record.name) in tags
    }
    pinned = any(record.labels.get("io.cri-containerd.pinned") == "pinned" for record in records)
    return ImageRecord(resolved, tags, tuple(sorted({*digests, *implied})), pinned)


def _matches(record: ImageRecord, wanted: reference.Reference) -> bool:
    return str(wanted) in record.names
