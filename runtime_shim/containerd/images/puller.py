"""Pulls an image from its registry into containerd: manifests first, layers side by side, then snapshots and names.

Everything is written under a lease and named last, so a pull that fails leaves nothing that counts as an image,
and what it has fetched is there for the next try until the lease expires.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content, model, reference
from navarch.runtime_shim.containerd.images.catalog import Catalog
from navarch.runtime_shim.containerd.images.importer import GC_CONTENT, MANAGED, gc_labels
from navarch.runtime_shim.containerd.images.ingest import ingest
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest
from navarch.runtime_shim.containerd.images.registry import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    Credentials,
    Repository,
)
from navarch.runtime_shim.containerd.images.unpack import Unpacker

LAYERS_AT_ONCE = 4
# A registry that stumbles or a download that breaks is met this often; then the kubelet tries again later.
TRIES = 4
RETRY_S = 0.2

T = TypeVar("T")


class Puller:
    """Pulls images. Pulls at once of the same name, or of images that share a layer, do the work once."""

    def __init__(self, client: ContainerdClient, catalog: Catalog, unpacker: Unpacker) -> None:
        self._client = client
        self._catalog = catalog
        self._unpacker = unpacker
        self._locks: dict[str, asyncio.Lock] = {}

    async def pull(self, name: str, credentials: Credentials) -> str:
        """Pull by tag or digest; returns the image id. Raises NotFound, InvalidArgument, Unavailable ..."""
        # Imported with the first pull: it is large, and a host that has its images never needs it.
        import aiohttp

        image = reference.parse(name)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        # Registries send blobs as they are; "identity" keeps proxies from wrapping them once more.
        session = aiohttp.ClientSession(
            timeout=timeout, trust_env=True, auto_decompress=False, headers={"Accept-Encoding": "identity"}
        )
        async with (
            self._alone(str(image)),
            session,
            content.lease(self._client, keep_after_failure=True) as lease_id,
        ):
            return await self._pull(image, Repository(session, image, credentials), lease_id)

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """Be the only one here who works on this."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(key, None)

    async def _pull(self, image: reference.Reference, repository: Repository, lease_id: str) -> str:
        target, document = await _persistently(lambda: repository.manifest(image.digest or image.tag))
        top, top_document = target, document
        parsed = model.parse_json(document, f"manifest {target.digest}")
        if "manifests" in parsed:
            chosen = model.choose_platform(map(Descriptor.read, parsed["manifests"]))
            target, document = await _persistently(lambda: repository.manifest(chosen.digest))
            parsed = model.parse_json(document, f"manifest {target.digest}")
        manifest = Manifest.read(parsed)
        await self._fetch_all(repository, manifest, lease_id)
        config_json = await content.read(self._client, manifest.config.digest)
        config = ImageConfig.read(model.parse_json(config_json, f"image configuration {manifest.config.digest}"))
        labels = {f"{GC_CONTENT}.config": manifest.config.digest, **gc_labels("l", manifest.layers)}
        await content.write(self._client, target, [document], lease_id, labels)
        if top is not target:
            await content.write(self._client, top, [top_document], lease_id, gc_labels("m", [target]))
        await self._unpacker.unpack(manifest, config, lease_id)
        await self._catalog.put(str(image), top, MANAGED)
        return manifest.config.digest

    async def _fetch_all(self, repository: Repository, manifest: Manifest, lease_id: str) -> None:
        places = asyncio.Semaphore(LAYERS_AT_ONCE)

        async def fetch(target: Descriptor) -> None:
            async with places, self._alone(target.digest):
                await _persistently(lambda: ingest(self._client, target, repository.blob, lease_id))

        # An image may name the same layer twice.
        wanted = {target.digest: target for target in (manifest.config, *manifest.layers)}
        try:
            async with asyncio.TaskGroup() as group:
                for target in wanted.values():
                    group.create_task(fetch(target))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _persistently(operation: Callable[[], Awaitable[T]]) -> T:
    """The result of an operation that goes on where it was, or begins again, when the registry is unavailable."""
    for attempt in range(TRIES - 1):
        try:
            return await operation()
        except errors.Unavailable:
            await asyncio.sleep(RETRY_S * 2**attempt)
    return await operation()
