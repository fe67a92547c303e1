"""Pulls an image from its registry into containerd: manifests first, layers side by side, then names.

Layers are unpacked in their order as they arrive, while those above are still under way. Everything is written
under a lease and named last, so a pull that fails leaves nothing that counts as an image, and what it has fetched
is there for the next try until one succeeds, or the lease expires.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from navarch.runtime_shim import errors, reference
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content, model, platforms
from navarch.runtime_shim.containerd.images.auth import Credentials
from navarch.runtime_shim.containerd.images.catalog import Catalog
from navarch.runtime_shim.containerd.images.endpoint import Endpoint
from navarch.runtime_shim.containerd.images.hosts import hosts_of
from navarch.runtime_shim.containerd.images.ingest import Ingester, resumable_ref
from navarch.runtime_shim.containerd.images.locks import NamedLocks
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.containerd.images.registry import Repository
from navarch.runtime_shim.containerd.images.retry import persistently
from navarch.runtime_shim.containerd.images.unpack import Unpacker
from navarch.services.base.log import get_logger

LOG = get_logger("shim.images")
# Each layer has the network and the disk to itself for this long: the lowest is needed first, and to finish all
# at the same time is to unpack none before.
HEAD_START_S = 0.1
# Room between the socket and containerd, for each download.
READ_BUFFER_BYTES = 1 << 20

Document = tuple[Descriptor, bytes]


class Puller:
    """Pulls images. Pulls at once of the same name, or of images that share a layer, do the work once."""

    def __init__(
        self,
        client: ContainerdClient,
        catalog: Catalog,
        ingester: Ingester,
        unpacker: Unpacker,
        options: PullOptions,
    ) -> None:
        self._client = client
        self._ingester = ingester
        self._catalog = catalog
        self._unpacker = unpacker
        self._options = options
        self._locks = NamedLocks()

    async def pull(self, name: str, credentials: Credentials) -> str:
        """Pull by tag or digest; returns the image id. Raises NotFound, InvalidArgument, Unavailable ..."""
        # Imported with the first pull: it is large, and a host that has its images never needs it.
        import aiohttp

        image = reference.parse(name)
        hosts = await asyncio.to_thread(hosts_of, image.host, self._options.config_dirs)
        # Registries send blobs as they are; "identity" keeps proxies from wrapping them once more.
        session = aiohttp.ClientSession(
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BUFFER_BYTES,
        )
        async with self._locks.alone(str(image)), session:
            endpoints = [Endpoint(session, host, image, credentials, self._options) for host in hosts]
            try:
                async with content.lease(self._client, pull=str(image)) as lease_id:
                    image_id = await self._pull(image, Repository(image, endpoints), lease_id)
            except errors.ResourceExhausted:
                await self._unpacker.sweep()
                raise
        LOG.info("image.pulled", name=image, id=image_id)
        return image_id

    async def _pull(self, image: reference.Reference, repository: Repository, lease_id: str) -> str:
        *indexes, (target, document) = await self._documents(repository, image.digest or image.tag)
        manifest = Manifest.read(model.parse_json(document, f"manifest {target.digest}"))
        self._check_bounds(manifest)
        await self._fetch_and_unpack(repository, manifest, lease_id)
        labels = {f"{content.GC_CONTENT}.config": manifest.config.digest, **content.gc_labels("l", manifest.layers)}
        await content.write(self._client, target, document, lease_id, labels)
        for index, text in reversed(indexes):
            await content.write(self._client, index, text, lease_id, content.gc_labels("m", [target]))
            target = index
        await self._catalog.name(manifest.config.digest, target, [image], self._options.pinned)
        return manifest.config.digest

    async def _documents(self, repository: Repository, name: str) -> list[Document]:
        """The manifest of this machine's image, and before it the indexes that lead there."""
        found: list[Document] = []
        for _ in range(model.INDEX_DEPTH):
            target, document = await persistently(partial(repository.manifest, name), self._options)
            found.append((target, document))
            entries = model.index_entries(model.parse_json(document, f"manifest {target.digest}"))
            if entries is None:
                return found
            name = platforms.ranked(entries)[0].digest
        raise errors.InvalidArgument(f"broken image: more than {model.INDEX_DEPTH} indexes in each other")

    def _check_bounds(self, manifest: Manifest) -> None:
        size = sum(layer.size for layer in manifest.layers)
        if len(manifest.layers) > self._options.layers or size > self._options.image_bytes:
            raise errors.InvalidArgument(
                f"the image has {len(manifest.layers)} layers of {size} bytes; "
                f"{self._options.layers} of {self._options.image_bytes} are allowed"
            )
        if manifest.config.size > model.DOCUMENT_BYTES:
            raise errors.InvalidArgument(f"the image configuration exceeds {model.DOCUMENT_BYTES} bytes")

    async def _fetch_and_unpack(self, repository: Repository, manifest: Manifest, lease_id: str) -> None:
        # In the order of need, and each once: an image may name the same layer twice.
        wanted = {target.digest: target for target in (manifest.config, *manifest.layers)}
        arrived = {digest: asyncio.Event() for digest in wanted}
        places = asyncio.Semaphore(self._options.downloads_at_once)

        async def fetch(target: Descriptor) -> None:
            async with places:
                await self._fetch(repository, target, lease_id)
            arrived[target.digest].set()

        async def arrival(target: Descriptor) -> None:
            await arrived[target.digest].wait()

        async def unpack() -> None:
            await arrival(manifest.config)
            config_json = await content.read(self._client, manifest.config.digest)
            what = f"image configuration {manifest.config.digest}"
            config = ImageConfig.read(model.parse_json(config_json, what))
            await self._unpacker.unpack(manifest, config, lease_id, arrival)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(unpack())
                for target in wanted.values():
                    await asyncio.wait([group.create_task(fetch(target))], timeout=HEAD_START_S)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _fetch(self, repository: Repository, target: Descriptor, lease_id: str) -> None:
        received = 0

        async def source(target: Descriptor, offset: int) -> AsyncGenerator[bytes]:
            nonlocal received
            async with aclosing(repository.blob(target, offset)) as pieces:
                async for piece in pieces:
                    received += len(piece)
                    yield piece

        ref = resumable_ref(target.digest)
        async with self._locks.alone(target.digest):
            await persistently(
                lambda: self._ingester.store(target, source, lease_id, ref), self._options, lambda: received
            )
