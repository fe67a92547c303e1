"""Pulling images: from Debian's docker-registry, and from a stub that misbehaves on purpose."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import platform
import secrets
import socket
import subprocess
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import zstandard
from aiohttp import web

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images.model import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from navarch.runtime_shim.containerd.images.platforms import runnable
from navarch.runtime_shim.containerd.images.service import ImageService
from navarch.services.base.clock import SystemClock

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "+gzip": gzip.compress,
    "+zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}
SNAPSHOTTER = "overlayfs"
((ARCHITECTURE, _), *_) = runnable(platform.machine())


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Image:
    """An image's manifest, configuration and layers. Random, so that containerd has none of it yet."""

    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return self.config, *self.layers

    @property
    def id(self) -> str:
        return digest_of(self.config)

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def an_image(*compressions: str, size: int = 1000, architecture: str = ARCHITECTURE) -> Image:
    """One layer for each compression; layer N holds the file layer-N, and all hold "last" with their number."""
    tars = [_tar({f"layer-{n}": secrets.token_bytes(size), "last": str(n).encode()}) for n in range(len(compressions))]
    layers = tuple(COMPRESS[kind](data) for kind, data in zip(compressions, tars, strict=True))
    config = {
        "architecture": architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in tars]},
        "config": {"Cmd": ["sh"], "Labels": {"is": secrets.token_hex(8)}},
    }
    document = json.dumps(config).encode()
    described = [_descriptor(OCI_LAYER + kind, data) for kind, data in zip(compressions, layers, strict=True)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(OCI_CONFIG, document),
        "layers": described,
    }
    return Image(json.dumps(manifest).encode(), document, layers)


def an_index(*images: tuple[str, Image]) -> bytes:
    """An index of one image for each architecture."""
    manifests = [
        _descriptor(OCI_MANIFEST, image.manifest) | {"platform": {"os": "linux", "architecture": architecture}}
        for architecture, image in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
async def client(containerd: Any) -> AsyncIterator[ContainerdClient]:
    made = ContainerdClient(containerd.layout.socket, "k8s.io")
    await made.connected()
    yield made
    await made.close()


@pytest.fixture
def images(client: ContainerdClient, tmp_path: Path) -> ImageService:
    return ImageService(client, SNAPSHOTTER, tmp_path, tmp_path, SystemClock())


async def pull(images: ImageService, name: str, **auth: str) -> str:
    request = criv1.PullImageRequest(image=criv1.ImageSpec(image=name), auth=criv1.AuthConfig(**auth))
    return (await images.pull_image(request)).image_ref


async def status(images: ImageService, name: str) -> criv1.Image | None:
    answer = await images.image_status(criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name)))
    return answer.image if answer.HasField("image") else None


async def files_of(images: ImageService, client: ContainerdClient, name: str) -> dict[str, bytes]:
    """The files of an unpacked image, as overlayfs would show them.

    The view is a root of its own: a collection begun by an earlier removal must not take it away.
    """
    key = f"look-{secrets.token_hex(4)}"
    chain = (await images.resolve(name)).chain_id
    view = snapshotsv1.ViewSnapshotRequest(
        snapshotter=SNAPSHOTTER, key=key, parent=chain, labels={"containerd.io/gc.root": "test"}
    )
    (mount,) = (await client.snapshots.View(view)).mounts
    await client.snapshots.Remove(snapshotsv1.RemoveSnapshotRequest(snapshotter=SNAPSHOTTER, key=key))
    lower = [option.removeprefix("lowerdir=") for option in mount.options if option.startswith("lowerdir=")]
    folders = lower[0].split(":") if lower else [mount.source]
    return {path.name: path.read_bytes() for folder in reversed(folders) for path in Path(folder).iterdir()}


# The genuine registry


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """host:port of Debian's docker-registry."""
    with tempfile.TemporaryDirectory(prefix="nv-registry-") as directory, socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        reserved.close()
        config = Path(directory) / "config.yml"
        storage = {"filesystem": {"rootdirectory": f"{directory}/data"}}
        config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": host}}))
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        try:
            yield host
        finally:
            process.terminate()
            process.wait()


async def push(host: str, repository: str, images: dict[str, Image], index: tuple[str, bytes] | None = None) -> None:
    """Put images into a registry: tag -> image; the index last, under its own tag."""
    base = f"http://{host}/v2/{repository}"
    async with aiohttp.ClientSession() as session:
        await _answers(session, f"http://{host}/v2/")
        for tag, image in images.items():
            for blob in image.blobs:
                async with session.post(f"{base}/blobs/uploads/") as begun:
                    place = begun.headers["Location"]
                joint = "&" if "?" in place else "?"
                url = f"{place}{joint}digest={digest_of(blob)}"
                async with session.put(url, data=blob, headers={"Content-Type": "application/octet-stream"}) as done:
                    assert done.status == 201, await done.text()
            await _put_manifest(session, f"{base}/manifests/{tag}", OCI_MANIFEST, image.manifest)
        if index is not None:
            await _put_manifest(session, f"{base}/manifests/{index[0]}", OCI_INDEX, index[1])


async def _put_manifest(session: aiohttp.ClientSession, url: str, media_type: str, document: bytes) -> None:
    async with session.put(url, data=document, headers={"Content-Type": media_type}) as done:
        assert done.status == 201, await done.text()


async def _answers(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(url):
                    return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("compressions", [("+gzip",), ("+zstd",), ("",), ("+gzip", "+zstd", "")], ids=str)
async def test_layers_of_every_compression(
    registry: str, images: ImageService, client: ContainerdClient, compressions: tuple[str, ...]
) -> None:
    image = an_image(*compressions)
    repository = f"team/{secrets.token_hex(4)}"
    await push(registry, repository, {"v1": image})
    name = f"{registry}/{repository}:v1"
    assert await pull(images, name) == image.id
    found = await status(images, name)
    assert found is not None
    assert list(found.repo_tags) == [name]
    assert list(found.repo_digests) == [f"{registry}/{repository}@{image.digest}"]
    files = await files_of(images, client, name)
    assert set(files) == {*(f"layer-{n}" for n in range(len(compressions))), "last"}
    assert files["last"] == str(len(compressions) - 1).encode()


async def test_a_pull_by_digest_is_used_by_digest(registry: str, images: ImageService) -> None:
    image = an_image("+gzip")
    repository = f"team/{secrets.token_hex(4)}"
    await push(registry, repository, {"v1": image})
    by_digest = f"{registry}/{repository}@{image.digest}"
    assert await pull(images, by_digest) == image.id
    assert await status(images, f"{registry}/{repository}:v1") is None
    found = await status(images, by_digest)
    assert found is not None
    assert (list(found.repo_tags), list(found.repo_digests)) == ([], [by_digest])
    assert (await images.resolve(by_digest)).image_id == image.id
    assert (await images.resolve(image.id)).image_id == image.id


async def test_an_index_gives_the_image_of_this_machine(
    registry: str, images: ImageService, client: ContainerdClient
) -> None:
    other = "s390x" if ARCHITECTURE != "s390x" else "amd64"
    ours, foreign = an_image("+gzip"), an_image("+gzip", architecture=other)
    repository = f"team/{secrets.token_hex(4)}"
    index = an_index((other, foreign), (ARCHITECTURE, ours))
    await push(registry, repository, {"ours": ours, "foreign": foreign}, ("multi", index))
    name = f"{registry}/{repository}:multi"
    assert await pull(images, name) == ours.id
    found = await status(images, name)
    assert found is not None
    assert list(found.repo_digests) == [f"{registry}/{repository}@{digest_of(index)}"]
    assert "layer-0" in await files_of(images, client, name)
    assert await status(images, foreign.id) is None


async def test_an_index_without_this_machine_names_what_there_is(registry: str, images: ImageService) -> None:
    repository = f"team/{secrets.token_hex(4)}"
    foreign = an_image("+gzip", architecture="s390x")
    await push(registry, repository, {"foreign": foreign}, ("multi", an_index(("s390x", foreign))))
    with pytest.raises(errors.InvalidArgument, match="linux/s390x"):
        await pull(images, f"{registry}/{repository}:multi")


@pytest.mark.parametrize(("tag", "words"), [("team/known:v2", "manifest unknown"), ("team/unknown:v1", "unknown")])
async def test_what_a_registry_does_not_have(registry: str, images: ImageService, tag: str, words: str) -> None:
    await push(registry, "team/known", {"v1": an_image("+gzip")})
    with pytest.raises(errors.NotFound, match=f"(?s){tag}.*{words}"):
        await pull(images, f"{registry}/{tag}")


async def test_a_registry_that_does_not_answer(images: ImageService) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(errors.Unavailable, match=f"failed to reach {host}"):
            await pull(images, f"{host}/team/web:v1")


# A registry that does as told


@dataclass
class Stub:
    """Serves images under team/web, and notes what it was asked."""

    host: str = ""
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    # What a request is answered with before it is served: path -> statuses.
    refusals: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    # digest -> after how many bytes each answer breaks off.
    cuts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    # Awaited before an answer breaks off: with the digest and how much of it has been sent.
    before_cut: Callable[[str, int], Awaitable[None]] | None = None
    honours_range: bool = True
    # Before the first byte of a blob.
    pause_s: float = 0.0
    # "" for everybody, "basic", or "bearer" with tokens from /token.
    wants: str = ""
    # Where blobs are sent from, instead of here.
    redirect: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def add(self, image: Image, *tags: str) -> None:
        for name in (*tags, image.digest):
            self.manifests[name] = (OCI_MANIFEST, image.manifest)
        self.blobs |= {digest_of(blob): blob for blob in image.blobs}

    def blob_requests(self) -> Counter[str]:
        return Counter(path.rpartition("/")[2] for path, _ in self.asked if "/blobs/" in path)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append((path, request.headers.get("Range", "")))
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.refusals[path]:
            error = {"code": "SOON", "message": "later"}
            return web.json_response({"errors": [error]}, status=self.refusals[path].pop(0))
        if path == "/token":
            return await self._token(request)
        if not self._allowed(request):
            challenge = f'Bearer realm="http://{self.host}/token",service="stub",scope="repository:team/web:pull,push"'
            header = {"WWW-Authenticate": challenge if self.wants == "bearer" else 'Basic realm="stub"'}
            error = {"code": "UNAUTHORIZED", "message": "authentication required"}
            return web.json_response({"errors": [error]}, status=401, headers=header)
        kind, name = path.removeprefix("/v2/team/web/").split("/")
        if kind == "manifests" and name in self.manifests:
            media_type, document = self.manifests[name]
            return web.Response(body=document, content_type=media_type)
        if kind == "blobs" and name in self.blobs:
            if self.redirect:
                raise web.HTTPTemporaryRedirect(f"http://{self.redirect}{path}")
            return await self._blob(request, name)
        return web.json_response({"errors": [{"code": "UNKNOWN", "message": f"no {name} here"}]}, status=404)

    def _allowed(self, request: web.Request) -> bool:
        right = {"": None, "basic": "Basic " + base64.b64encode(b"me:secret").decode(), "bearer": "Bearer good"}
        return right[self.wants] in (None, request.headers.get("Authorization"))

    async def _token(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            form = await request.post()
            granted = form["grant_type"] == "refresh_token" and form["refresh_token"] == "identity"
        else:
            assert request.query["service"] == "stub"
            assert request.query["scope"] == "repository:team/web:pull,push"
            granted = request.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:secret").decode()
        if not granted:
            return web.json_response({"errors": [{"code": "DENIED", "message": "who are you"}]}, status=401)
        return web.json_response({"token": "good"})

    async def _blob(self, request: web.Request, name: str) -> web.StreamResponse:
        data, offset = self.blobs[name], 0
        if self.honours_range and (wanted := request.headers.get("Range")):
            offset = int(wanted.removeprefix("bytes=").removesuffix("-"))
        response = web.StreamResponse(status=206 if offset else 200)
        response.content_length = len(data) - offset
        await response.prepare(request)
        await asyncio.sleep(self.pause_s)
        end = min(offset + self.cuts[name].pop(0), len(data)) if self.cuts[name] else len(data)
        await response.write(data[offset:end])
        self.sent[name] += end - offset
        if end < len(data):
            if self.before_cut is not None:
                await self.before_cut(name, end)
            assert request.transport is not None
            request.transport.abort()
        return response


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    made = Stub()
    async for host in serving(made):
        made.host = host
        yield made


async def serving(stub: Stub) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", stub.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


BASIC = base64.b64encode(b"me:secret").decode()


@pytest.mark.parametrize(
    ("wants", "auth"),
    [
        ("basic", {"username": "me", "password": "secret"}),
        ("basic", {"auth": BASIC}),
        ("bearer", {"username": "me", "password": "secret"}),
        ("bearer", {"auth": BASIC}),
        ("bearer", {"identity_token": "identity"}),
        ("bearer", {"registry_token": "good"}),
    ],
    ids=str,
)
async def test_right_credentials(images: ImageService, stub: Stub, wants: str, auth: dict[str, str]) -> None:
    image, stub.wants = an_image("+gzip"), wants
    stub.add(image, "v1")
    assert await pull(images, f"{stub.host}/team/web:v1", **auth) == image.id


@pytest.mark.parametrize(
    ("wants", "auth", "words"),
    [
        ("basic", {}, "no pull secret"),
        ("basic", {"username": "me", "password": "wrong"}, "authentication required"),
        ("bearer", {}, "who are you"),
        ("bearer", {"username": "me", "password": "wrong"}, "who are you"),
        ("bearer", {"identity_token": "stolen"}, "who are you"),
    ],
    ids=str,
)
async def test_wrong_credentials(
    images: ImageService, stub: Stub, wants: str, auth: dict[str, str], words: str
) -> None:
    image, stub.wants = an_image("+gzip"), wants
    stub.add(image, "v1")
    with pytest.raises(errors.RuntimeFailure, match=f"(?s)pull access denied for .*team/web.*{words}"):
        await pull(images, f"{stub.host}/team/web:v1", **auth)
    assert not stub.blob_requests()


async def test_one_token_serves_all_requests_of_a_pull(images: ImageService, stub: Stub) -> None:
    image, stub.wants = an_image("+gzip", ""), "bearer"
    stub.add(image, "v1")
    await pull(images, f"{stub.host}/team/web:v1", username="me", password="secret")
    assert [path for path, _ in stub.asked].count("/token") == 1


async def test_a_token_stays_with_its_registry(images: ImageService, stub: Stub) -> None:
    """Blobs often come from another host, which must not learn the token."""
    image, stub.wants = an_image("+gzip"), "bearer"
    stub.add(image, "v1")
    elsewhere = Stub()
    elsewhere.add(image)
    async for host in serving(elsewhere):
        stub.redirect = host
        assert await pull(images, f"{stub.host}/team/web:v1", username="me", password="secret") == image.id
    assert elsewhere.asked
    assert not any(elsewhere.authorizations)


def stored(client: ContainerdClient) -> Callable[[str, int], Awaitable[None]]:
    """Waits until containerd has written so much of a blob."""

    async def wait(digest: str, size: int) -> None:
        async with asyncio.timeout(30):
            while True:
                listed = await client.content.ListStatuses(contentv1.ListStatusesRequest())
                if any(digest in one.ref and one.offset >= size for one in listed.statuses):
                    return
                await asyncio.sleep(0.02)

    return wait


async def test_a_broken_download_goes_on_where_it_broke(
    images: ImageService, client: ContainerdClient, stub: Stub
) -> None:
    image = an_image("", size=5 << 20)
    layer = digest_of(image.layers[0])
    stub.add(image, "v1")
    stub.cuts[layer], stub.before_cut = [3_000_000, 1_000_000], stored(client)
    assert await pull(images, f"{stub.host}/team/web:v1") == image.id
    ranges = [wanted for path, wanted in stub.asked if path.endswith(layer)]
    assert ranges == ["", "bytes=3000000-", "bytes=4000000-"]
    assert stub.sent[layer] == len(image.layers[0])


async def test_a_pull_that_failed_is_gone_on_with_by_the_next(
    images: ImageService, client: ContainerdClient, stub: Stub
) -> None:
    image = an_image("", size=2 << 20)
    layer = digest_of(image.layers[0])
    stub.add(image, "v1")
    stub.cuts[layer], stub.before_cut = [1_000_000], stored(client)
    name = f"{stub.host}/team/web:v1"
    seen = asyncio.create_task(pull(images, name))
    while not stub.sent[layer]:
        await asyncio.sleep(0.01)
    await stored(client)(layer, 1_000_000)
    seen.cancel()
    await asyncio.gather(seen, return_exceptions=True)
    assert await status(images, name) is None
    assert await pull(images, name) == image.id
    assert stub.sent[layer] == len(image.layers[0])


async def test_a_server_without_ranges_is_asked_for_all_again(
    images: ImageService, client: ContainerdClient, stub: Stub
) -> None:
    image = an_image("", size=2 << 20)
    stub.add(image, "v1")
    stub.honours_range = False
    stub.cuts[digest_of(image.layers[0])], stub.before_cut = [1_000_000], stored(client)
    assert await pull(images, f"{stub.host}/team/web:v1") == image.id


async def test_a_download_that_always_breaks_is_given_up(images: ImageService, stub: Stub) -> None:
    image = an_image("", size=2 << 20)
    stub.add(image, "v1")
    stub.cuts[digest_of(image.layers[0])] = [1000] * 100
    with pytest.raises(errors.Unavailable, match=stub.host):
        await pull(images, f"{stub.host}/team/web:v1")
    assert await status(images, f"{stub.host}/team/web:v1") is None


async def test_wrong_bytes_are_refused_and_not_kept(images: ImageService, stub: Stub) -> None:
    image = an_image("")
    layer = digest_of(image.layers[0])
    stub.add(image, "v1")
    stub.blobs[layer] = bytes(len(image.layers[0]))
    name = f"{stub.host}/team/web:v1"
    with pytest.raises(errors.InvalidArgument, match=layer):
        await pull(images, name)
    assert await status(images, name) is None
    stub.add(image)
    assert await pull(images, name) == image.id


@pytest.mark.parametrize("size", [-100, 100], ids=["short", "long"])
async def test_a_blob_of_another_size_is_refused(images: ImageService, stub: Stub, size: int) -> None:
    image = an_image("")
    layer = digest_of(image.layers[0])
    stub.add(image, "v1")
    stub.blobs[layer] = (image.layers[0] + bytes(100))[: len(image.layers[0]) + size]
    with pytest.raises((errors.InvalidArgument, errors.Unavailable), match=layer):
        await pull(images, f"{stub.host}/team/web:v1")
    stub.add(image)
    assert await pull(images, f"{stub.host}/team/web:v1") == image.id


async def test_a_manifest_that_is_not_what_its_digest_says(images: ImageService, stub: Stub) -> None:
    image, another = an_image(""), an_image("")
    stub.add(image)
    stub.manifests[image.digest] = (OCI_MANIFEST, another.manifest)
    with pytest.raises(errors.InvalidArgument, match=f"sent {another.digest} for {image.digest}"):
        await pull(images, f"{stub.host}/team/web@{image.digest}")
    assert not stub.blob_requests()


async def test_a_layer_that_unpacks_to_something_else(images: ImageService, stub: Stub) -> None:
    image, another = an_image(""), an_image("")
    document = json.loads(image.manifest)
    document["layers"] = json.loads(another.manifest)["layers"]
    mixed = Image(json.dumps(document).encode(), image.config, another.layers)
    stub.add(mixed, "v1")
    with pytest.raises(errors.InvalidArgument, match="unpacks to"):
        await pull(images, f"{stub.host}/team/web:v1")


async def test_a_missing_blob(images: ImageService, stub: Stub) -> None:
    image = an_image("", "")
    stub.add(image, "v1")
    layer = digest_of(image.layers[1])
    del stub.blobs[layer]
    with pytest.raises(errors.NotFound, match=f"no {layer} here"):
        await pull(images, f"{stub.host}/team/web:v1")
    assert await status(images, f"{stub.host}/team/web:v1") is None


@pytest.mark.parametrize("what", ["manifest", "layer"])
@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_registry_that_stumbles_is_asked_again(images: ImageService, stub: Stub, what: str, code: int) -> None:
    image = an_image("")
    stub.add(image, "v1")
    name = "manifests/v1" if what == "manifest" else f"blobs/{digest_of(image.layers[0])}"
    stub.refusals[f"/v2/team/web/{name}"] = [code, code]
    assert await pull(images, f"{stub.host}/team/web:v1") == image.id


@pytest.mark.parametrize("what", ["manifest", "layer"])
async def test_a_registry_that_stays_down_is_quoted(images: ImageService, stub: Stub, what: str) -> None:
    image = an_image("")
    stub.add(image, "v1")
    name = "manifests/v1" if what == "manifest" else f"blobs/{digest_of(image.layers[0])}"
    stub.refusals[f"/v2/team/web/{name}"] = [503] * 20
    with pytest.raises(errors.Unavailable, match=f"{stub.host} answered: SOON: later"):
        await pull(images, f"{stub.host}/team/web:v1")


async def test_two_pulls_at_once_fetch_once(images: ImageService, stub: Stub) -> None:
    image = an_image("+gzip", "")
    stub.add(image, "v1")
    name = f"{stub.host}/team/web:v1"
    assert await asyncio.gather(*(pull(images, name) for _ in range(3))) == [image.id] * 3
    assert set(stub.blob_requests().values()) == {1}


async def test_two_images_at_once_fetch_what_they_share_once(images: ImageService, stub: Stub) -> None:
    """The same image under two names: the pulls meet in each blob, and the second waits however long it takes."""
    image = an_image("+gzip", "")
    stub.add(image, "v1", "v2")
    stub.pause_s = 3.0
    names = [f"{stub.host}/team/web:{tag}" for tag in ("v1", "v2")]
    assert await asyncio.gather(*(pull(images, name) for name in names)) == [image.id] * 2
    found = await status(images, image.id)
    assert found is not None
    assert list(found.repo_tags) == names
    assert set(stub.blob_requests().values()) == {1}


async def test_a_tag_that_moved_is_followed(images: ImageService, stub: Stub) -> None:
    name = f"{stub.host}/team/web:v1"
    for image in (an_image(""), an_image("+gzip")):
        stub.add(image, "v1")
        assert await pull(images, name) == image.id
        assert (await images.resolve(name)).image_id == image.id
