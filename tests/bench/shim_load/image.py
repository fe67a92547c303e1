"""An image of 100 MB in 5 layers, and a registry of one process that serves it from memory.

python image.py    # prints the port, serves until standard input ends
"""

import asyncio
import gzip
import hashlib
import io
import json
import random
import sys
import tarfile

from aiohttp import web

LAYERS = 5
LAYER_BYTES = 20_000_000
# About what the parts of a program's installation are: half of it compresses well.
FILE_BYTES = 200_000
SEED = 5
NAME = "bench/hundred"


def layer(number: int) -> tuple[bytes, str]:
    """A compressed layer, and the digest of what it holds."""
    rng, tar = random.Random(SEED + number), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        # Half of each file is noise, which gzip leaves as it is.
        for index in range(2 * LAYER_BYTES // FILE_BYTES):
            info = tarfile.TarInfo(f"opt/layer-{number}/{index // 20}/{index}.bin")
            info.size = FILE_BYTES
            half = FILE_BYTES // 2
            archive.addfile(info, io.BytesIO(rng.randbytes(half) + b"\0" * half))
    plain = tar.getvalue()
    return gzip.compress(plain, compresslevel=1, mtime=0), digest(plain)


def digest(data: bytes) -> str:
    """As registries name contents."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image() -> dict[str, tuple[str, bytes]]:
    """(media type, content) of all that the registry has, by digest; the manifest by "latest", too."""
    blobs = {}
    layers, diff_ids = [], []
    for number in range(LAYERS):
        data, diff_id = layer(number)
        blobs[digest(data)] = ("application/octet-stream", data)
        layers.append(_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", data))
        diff_ids.append(diff_id)
    content = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = json.dumps(content).encode()
    blobs[digest(config)] = ("application/octet-stream", config)
    described = _descriptor("application/vnd.oci.image.config.v1+json", config)
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": described, "layers": layers}).encode()
    blobs["latest"] = blobs[digest(manifest)] = (media_type, manifest)
    return blobs


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


async def serve() -> None:
    """Serve it until standard input ends."""
    blobs = image()

    async def answer(request: web.Request) -> web.Response:
        reference = request.path.rpartition("/")[2]
        if not reference:
            return web.Response()
        if reference not in blobs:
            return web.Response(status=404)
        media_type, data = blobs[reference]
        return web.Response(body=data, content_type=media_type, headers={"Docker-Content-Digest": digest(data)})

    application = web.Application()
    application.router.add_get("/v2/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
