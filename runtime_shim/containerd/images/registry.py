"""A repository as its hosts serve it: manifests and blobs by digest or tag, from the first host that has them.

Mirrors are asked in the order of the configuration, the registry itself last; the last word of a failure is its
own. A host that breaks off a blob is asked last for what remains.
Source: OCI distribution specification 1.1.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.images import hosts, model
from navarch.runtime_shim.containerd.images.endpoint import Endpoint, read_all
from navarch.runtime_shim.containerd.images.model import Descriptor
from navarch.runtime_shim.reference import Reference

# Schema 1 is asked for last, to be refused by name.
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
ACCEPTED = ", ".join([*sorted(model.INDEX_TYPES | model.MANIFEST_TYPES), f"{SCHEMA_1};q=0.1"])
CHUNK_BYTES = 1 << 20


class Repository:
    """One repository on the hosts that serve it."""

    def __init__(self, image: Reference, endpoints: Sequence[Endpoint]) -> None:
        self._image = image
        self._endpoints = list(endpoints)

    async def manifest(self, name: str) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest. Raises NotFound, RuntimeFailure, InvalidArgument, Unavailable."""
        failures: list[errors.ShimError] = []
        by_digest = name.startswith("sha256:")
        for endpoint in self._able(hosts.PULL if by_digest else hosts.RESOLVE):
            try:
                return await self._manifest(endpoint, name)
            except errors.ShimError as failure:
                failures.append(failure)
        raise self._failure(failures)

    async def _manifest(self, endpoint: Endpoint, name: str) -> tuple[Descriptor, bytes]:
        async with endpoint.get(f"manifests/{name}", {"Accept": ACCEPTED}) as response:
            data = await read_all(response, model.DOCUMENT_BYTES)
            media_type = response.headers.get("Content-Type", "").partition(";")[0]
        digest = model.digest_of(data)
        if name.startswith("sha256:") and name != digest:
            raise errors.InvalidArgument(f"the registry sent {digest} for {name}")
        document = model.parse_json(data, f"manifest {name}")
        return Descriptor(document.get("mediaType") or media_type, digest, len(data)), data

    async def blob(self, target: Descriptor, offset: int) -> AsyncGenerator[bytes]:
        """The content of a blob from ``offset`` on, in pieces. The caller checks the digest."""
        failures: list[errors.ShimError] = []
        for endpoint in self._able(hosts.PULL):
            begun = False
            try:
                async with aclosing(self._blob(endpoint, target, offset)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except errors.ShimError as failure:
                if begun:
                    self._endpoints.sort(key=lambda one: one is endpoint)
                    raise
                failures.append(failure)
        raise self._failure(failures)

    async def _blob(self, endpoint: Endpoint, target: Descriptor, offset: int) -> AsyncGenerator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with endpoint.get(f"blobs/{target.digest}", headers) as response:
            # A server that ignores the range sends all: what is there already is passed over.
            skip = offset if response.status == 200 else 0
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                piece = chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))
                if piece:
                    yield piece

    def _able(self, capability: str) -> list[Endpoint]:
        """The hosts to ask now; a sort while they are being asked does not disturb."""
        return [endpoint for endpoint in self._endpoints if endpoint.can(capability)]

    def _failure(self, failures: list[errors.ShimError]) -> errors.ShimError:
        """The last host's failure, which decides what happens next, with the words of the others."""
        if not failures:
            return errors.FailedPrecondition(f"no host of {self._image.host} is configured to serve pulls")
        *others, last = failures
        if others:
            message = f"{last} (before: {'; '.join(map(str, others))})"
            last.args = (message, *last.args[1:])
        return last
