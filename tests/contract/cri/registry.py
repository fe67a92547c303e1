"""A registry on loopback for a test: the images of an OCI archive, under any repository, by tag or digest."""

import contextlib
import json
import tarfile
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

INDEX = "index.json"
TAGS = ("navarch", "latest")


@contextlib.asynccontextmanager
async def registry(archive: Path, password: str = "") -> AsyncIterator[str]:
    """Serve it; the value is host:port. password: what the user "user" has to show; "" asks for nothing."""
    with tarfile.open(archive) as tar:
        files = {m.name: tar.extractfile(m) for m in tar.getmembers() if m.isfile()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    blobs = {name.replace("blobs/sha256/", "sha256:"): data for name, data in contents.items() if "blobs" in name}
    entry = json.loads(contents[INDEX])["manifests"][0]

    encoded = b64encode(f"user:{password}".encode()).decode()

    async def answer(request: web.Request) -> web.Response:
        if password and request.headers.get("Authorization") != "Basic " + encoded:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
        *_, kind, reference = ("", *request.match_info["path"].split("/"))
        if kind not in ("manifests", "blobs"):
            return web.Response()  # Of /v2/ itself.
        digest = reference if reference.startswith("sha256:") else entry["digest"]
        if digest not in blobs or (kind == "manifests" and reference not in (*TAGS, entry["digest"])):
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        headers = {"Docker-Content-Digest": digest}
        media_type = entry["mediaType"] if kind == "manifests" else "application/octet-stream"
        return web.Response(body=blobs[digest], headers=headers, content_type=media_type)

    application = web.Application()
    application.router.add_get("/v2/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
