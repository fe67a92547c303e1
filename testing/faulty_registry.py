"""A registry that does as told, and small images to serve from it."""

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import secrets
import ssl
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from navarch.runtime_shim.containerd.images.model import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def digest_of(data: bytes) -> str:
    """The digest of a blob."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Image:
    """An image that no containerd has seen before."""

    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def id(self) -> str:
        """What CRI calls the image."""
        return digest_of(self.config)

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.manifest)


def descriptor(media_type: str, data: bytes, **more: object) -> dict[str, object]:
    """What points at a blob."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def an_image(size: int = 1000) -> Image:
    """One layer with one file of random bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = size
        archive.addfile(member, io.BytesIO(secrets.token_bytes(size)))
    tar = buffer.getvalue()
    layer = gzip.compress(tar, 1)
    config = json.dumps({"rootfs": {"diff_ids": [digest_of(tar)]}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config),
        "layers": [descriptor(OCI_LAYER + "+gzip", layer)],
    }
    return Image(json.dumps(manifest).encode(), config, layer)


def an_index(*entries: dict[str, object]) -> bytes:
    """An image index."""
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


@dataclass
class Registry:
    """Serves manifests and blobs of any repository. faults: asked first, in turn; the first answer is sent."""

    host: str = ""
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    def add(self, image: Image, *tags: str) -> Image:
        """Serve an image by digest and tags."""
        self.manifests |= dict.fromkeys((*tags, image.digest), image.manifest)
        self.blobs |= {digest_of(blob): blob for blob in (image.config, image.layer)}
        return image

    def asked(self, kind: str) -> list[web.Request]:
        """Requests whose path has this in it."""
        return [request for request in self.requests if kind in request.path]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(request)
        for fault in self.faults:
            if (answer := await fault(request)) is not None:
                return answer
        *_, kind, name = request.path.split("/")
        if kind == "manifests" and name in self.manifests:
            document = self.manifests[name]
            return web.Response(body=document, content_type=json.loads(document).get("mediaType", "text/plain"))
        if kind == "blobs" and name in self.blobs:
            wanted = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
            return web.Response(body=self.blobs[name][int(wanted) :], status=206 if int(wanted) else 200)
        return web.json_response({"errors": [{"code": "UNKNOWN", "message": f"no {name} here"}]}, status=404)


@contextlib.asynccontextmanager
async def serving(registry: Registry, context: ssl.SSLContext | None = None) -> AsyncIterator[Registry]:
    """Serve it on loopback, with TLS where there is a context."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", registry.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        registry.host = f"127.0.0.1:{runner.addresses[0][1]}"
        yield registry
    finally:
        await runner.cleanup()


def answers(status: int, *, path: str = "", times: int = 1_000, **headers: str) -> Fault:
    """Refuse requests whose path has this in it, so many times."""
    left = times

    async def fault(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if path not in request.path or not left:
            return None
        left -= 1
        error = {"code": "FAULT", "message": f"status {status}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({"errors": [error]}, status=status, headers=named)

    return fault


def stalls(path: str, data: bytes, times: int = 1_000) -> Fault:
    """Send these bytes of a longer answer, then nothing."""
    left = times

    async def fault(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if path not in request.path or not left:
            return None
        left -= 1
        response = web.StreamResponse()
        response.content_length = len(data) + 1_000_000
        await response.prepare(request)
        await response.write(data)
        await asyncio.sleep(3600)
        return response

    return fault
