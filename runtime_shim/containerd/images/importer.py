"""Brings an image archive into containerd: blobs, labels, snapshots, and last the names."""

from pathlib import Path

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content, model, reference
from navarch.runtime_shim.containerd.images.archive import Archive, ArchivedImage
from navarch.runtime_shim.containerd.images.catalog import Catalog
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest
from navarch.runtime_shim.containerd.images.unpack import Unpacker

# What marks a record as one that CRI manages, for us and for containerd's own CRI plugin.
MANAGED = {"io.cri-containerd.image": "managed"}
GC_CONTENT = "containerd.io/gc.ref.content"


class Importer:
    """Imports archives. A killed import leaves nothing but an expiring lease."""

    def __init__(self, client: ContainerdClient, catalog: Catalog, unpacker: Unpacker) -> None:
        self._client = client
        self._catalog = catalog
        self._unpacker = unpacker

    async def load(self, path: Path) -> list[str]:
        """Import all images of the archive at `path`; returns their full names. Raises InvalidArgument."""
        archive = Archive(path)
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
        manifest_descriptor = image.target
        if image.target.media_type in model.INDEX_TYPES:
            manifest_descriptor = await self._load_index(archive, image.target, lease_id)
        manifest, config = await self._load_manifest(archive, manifest_descriptor, lease_id)
        if image.target is not manifest_descriptor:
            await self._write_document(archive, image.target, lease_id, gc_labels("m", [manifest_descriptor]))
        await self._unpacker.unpack(manifest, config, lease_id)
        names = [str(reference.parse(name)) for name in image.names] or [manifest.config.digest]
        for name in names:
            await self._catalog.put(name, image.target, MANAGED)
        return names

    async def _load_index(self, archive: Archive, index: Descriptor, lease_id: str) -> Descriptor:
        document = model.parse_json(archive.document(index.digest), f"index {index.digest}")
        return model.choose_platform(
            entry for entry in map(Descriptor.read, document.get("manifests") or ()) if archive.has(entry.digest)
        )

    async def _load_manifest(self, archive: Archive, target: Descriptor, lease_id: str) -> tuple[Manifest, ImageConfig]:
        manifest = Manifest.read(model.parse_json(archive.document(target.digest), f"manifest {target.digest}"))
        config_json = archive.document(manifest.config.digest)
        config = ImageConfig.read(model.parse_json(config_json, f"image configuration {manifest.config.digest}"))
        # Leaves first: a label must not name what is not there.
        for layer in manifest.layers:
            await content.write(self._client, layer, archive.chunks(layer.digest), lease_id, {})
        await self._write_document(archive, manifest.config, lease_id, {})
        labels = {f"{GC_CONTENT}.config": manifest.config.digest, **gc_labels("l", manifest.layers)}
        await self._write_document(archive, target, lease_id, labels)
        return manifest, config

    async def _write_document(
        self, archive: Archive, target: Descriptor, lease_id: str, labels: dict[str, str]
    ) -> None:
        await content.write(self._client, target, archive.chunks(target.digest), lease_id, labels)


def gc_labels(kind: str, targets: "list[Descriptor] | tuple[Descriptor, ...]") -> dict[str, str]:
    """Garbage collection labels: kind is "m" for manifests, "l" for layers."""
    return {f"{GC_CONTENT}.{kind}.{position}": target.digest for position, target in enumerate(targets)}
