"""Brings an image archive into containerd: blobs, labels, snapshots, and last the names."""

import asyncio
import secrets
from collections.abc import Collection
from pathlib import Path

from navarch.runtime_shim import errors, reference
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content, model, platforms
from navarch.runtime_shim.containerd.images.archive import Archive, ArchivedImage
from navarch.runtime_shim.containerd.images.catalog import Catalog
from navarch.runtime_shim.containerd.images.ingest import Ingester
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest
from navarch.runtime_shim.containerd.images.unpack import Unpacker


class Importer:
    """Imports archives. A killed import leaves nothing but an expiring lease."""

    def __init__(
        self,
        client: ContainerdClient,
        catalog: Catalog,
        ingester: Ingester,
        unpacker: Unpacker,
        pinned: Collection[str] = (),
    ) -> None:
        """pinned: names whose images are not to be collected."""
        self._pinned = pinned
        self._client = client
        self._ingester = ingester
        self._catalog = catalog
        self._unpacker = unpacker

    async def load(self, path: Path) -> list[str]:
        """Import all images of the archive at `path`; returns their full names. Raises InvalidArgument."""
        archive = await asyncio.to_thread(Archive, path)
        names: list[str] = []
        try:
            async with content.lease(self._client) as lease_id:
                for image in archive.images:
                    names.extend(await self._load_image(archive, image, lease_id))
        finally:
            archive.close()
        if not names:
            raise errors.InvalidArgument("the archive holds no image")
        return names

    async def _load_image(self, archive: Archive, image: ArchivedImage, lease_id: str) -> list[str]:
        references = [reference.parse(name) for name in image.names]
        *indexes, target = self._descend(archive, image.target)
        manifest = Manifest.read(model.parse_json(archive.document(target.digest), f"manifest {target.digest}"))
        config_json = archive.document(manifest.config.digest)
        config = ImageConfig.read(model.parse_json(config_json, f"image configuration {manifest.config.digest}"))
        # Leaves first: a label must not name what is not there.
        for layer in manifest.layers:
            ref = f"navarch-import-{secrets.token_hex(8)}-{layer.digest}"
            await self._ingester.store(layer, archive.stream, lease_id, ref)
        await content.write(self._client, manifest.config, config_json, lease_id, {})
        labels = {f"{content.GC_CONTENT}.config": manifest.config.digest, **content.gc_labels("l", manifest.layers)}
        await content.write(self._client, target, archive.document(target.digest), lease_id, labels)
        for index in reversed(indexes):
            document = archive.document(index.digest)
            await content.write(self._client, index, document, lease_id, content.gc_labels("m", [target]))
            target = index
        await self._unpacker.unpack(manifest, config, lease_id)
        await self._catalog.name(manifest.config.digest, target, references, self._pinned)
        return [str(one) for one in references] or [manifest.config.digest]

    def _descend(self, archive: Archive, target: Descriptor) -> list[Descriptor]:
        """From an image's entry over its indexes to the manifest for this machine."""
        path = [target]
        for _ in range(model.INDEX_DEPTH):
            document = model.parse_json(archive.document(path[-1].digest), f"manifest {path[-1].digest}")
            entries = model.index_entries(document)
            if entries is None:
                return path
            present = (entry for entry in platforms.ranked(entries) if archive.has(entry.digest))
            chosen = next(present, None)
            if chosen is None:
                raise errors.InvalidArgument(f"incomplete archive: nothing that {path[-1].digest} names for here")
            path.append(chosen)
        raise errors.InvalidArgument(f"broken image: more than {model.INDEX_DEPTH} indexes in each other")
