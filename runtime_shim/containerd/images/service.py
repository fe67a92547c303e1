"""CRI's ImageService, and Images.Import, over containerd."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import images_pb2
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content
from navarch.runtime_shim.containerd.images.auth import Credentials
from navarch.runtime_shim.containerd.images.catalog import Catalog, ImageContent, ImageRecord
from navarch.runtime_shim.containerd.images.importer import Importer
from navarch.runtime_shim.containerd.images.ingest import Ingester
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.containerd.images.puller import Puller
from navarch.runtime_shim.containerd.images.unpack import Unpacker
from navarch.runtime_shim.containerd.images.usage import DiskUsage, SnapshotUsages
from navarch.services.base.clock import Clock

# Above this an archive is a mistake: a disk image, an endless stream.
ARCHIVE_BYTES = 64 << 30
ARCHIVE_PREFIX = "import-"


class ImageService:
    """The images of one containerd namespace."""

    def __init__(
        self,
        client: ContainerdClient,
        snapshotter: str,
        scratch: Path,
        root: Path,
        clock: Clock,
        options: PullOptions | None = None,
    ) -> None:
        """scratch: ours, for archives being received. root: containerd's, with images and snapshots."""
        options = options or PullOptions()
        self.catalog = Catalog(client)
        self.unpacker = Unpacker(client, snapshotter, root)
        ingester = Ingester(client, root)
        self._importer = Importer(client, self.catalog, ingester, self.unpacker, options.pinned)
        self._puller = Puller(client, self.catalog, ingester, self.unpacker, options)
        self.usages = SnapshotUsages(client, snapshotter)
        self._usage = DiskUsage(client, self.usages, root)
        self._client = client
        self._scratch = scratch
        self._clock = clock
        # Of a predecessor that was killed; one shim owns the folder.
        for leftover in scratch.glob(f"{ARCHIVE_PREFIX}*"):
            leftover.unlink(missing_ok=True)

    async def resolve(self, name: str) -> ImageContent:
        """What a container of this image needs, unpacked if another client of containerd left that out.

        Raises NotFound, and what unpacking raises.
        """
        image = await self.catalog.resolve(name)
        if image.chain_id and not await self.unpacker.has(image.chain_id):
            async with content.lease(self._client) as lease_id:
                await self.unpacker.unpack(image.manifest, image.config, lease_id)
        return image

    async def list_images(self, request: criv1.ListImagesRequest) -> criv1.ListImagesResponse:
        """All images, or the one that the filter names."""
        wanted = request.filter.image.image
        if not wanted:
            records = await self.catalog.list()
        else:
            found = await self.catalog.find(wanted)
            records = [found] if found else []
        return criv1.ListImagesResponse(images=map(_cri_image, records))

    async def image_status(self, request: criv1.ImageStatusRequest) -> criv1.ImageStatusResponse:
        """One image; an empty answer, not an error, where it is absent."""
        if not request.image.image:
            raise errors.InvalidArgument("the request names no image")
        record = await self.catalog.find(request.image.image)
        if record is None:
            return criv1.ImageStatusResponse()
        answer = criv1.ImageStatusResponse(image=_cri_image(record))
        if request.verbose:
            spec = orjson.loads(record.content.config_json)
            info = {"chainID": record.content.chain_id, "imageSpec": spec}
            answer.info["info"] = orjson.dumps(info).decode()
        return answer

    async def pull_image(self, request: criv1.PullImageRequest) -> criv1.PullImageResponse:
        """Pull from the registry that the name says; the answer refers to the image by id."""
        if not request.image.image:
            raise errors.InvalidArgument("the request names no image")
        image_id = await self._puller.pull(request.image.image, Credentials.of(request.auth))
        return criv1.PullImageResponse(image_ref=image_id)

    async def remove_image(self, request: criv1.RemoveImageRequest) -> criv1.RemoveImageResponse:
        """Remove the image with all its names. Absent is removed."""
        record = await self.catalog.find(request.image.image)
        if record is not None:
            await self.catalog.remove((*record.names, record.content.image_id))
        return criv1.RemoveImageResponse()

    async def image_fs_info(self, request: criv1.ImageFsInfoRequest) -> criv1.ImageFsInfoResponse:
        """What images take, and what containers wrote."""
        now_ns = int(self._clock.now() * 1e9)
        return await self._usage.read(now_ns)

    async def import_(self, requests: AsyncIterator[images_pb2.ImportRequest]) -> images_pb2.ImportResponse:
        """Receive an archive into a scratch file, then import it."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=ARCHIVE_PREFIX, dir=self._scratch)
        path = Path(name)
        try:
            size = 0
            with os.fdopen(handle, "wb") as archive:
                async for request in requests:
                    size += len(request.data)
                    if size > ARCHIVE_BYTES:
                        raise errors.InvalidArgument(f"the archive exceeds {ARCHIVE_BYTES} bytes")
                    # A disk that is slow to take it must not keep everyone else waiting.
                    await asyncio.to_thread(archive.write, request.data)
            return images_pb2.ImportResponse(images=await self._importer.load(path))
        finally:
            path.unlink(missing_ok=True)


def _cri_image(record: ImageRecord) -> criv1.Image:
    user, _, _ = record.content.config.user.partition(":")
    image = criv1.Image(
        id=record.content.image_id,
        repo_tags=record.tags,
        repo_digests=record.digests,
        size=record.content.size_bytes,
        pinned=record.pinned,
        spec=criv1.ImageSpec(image=record.content.image_id),
    )
    if user.isdecimal():
        image.uid.value = int(user)
    elif user:
        image.username = user
    elif not user:
        image.uid.value = 0
    return image
