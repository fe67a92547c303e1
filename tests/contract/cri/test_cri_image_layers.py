"""What layers may hold: harmless oddities, broken archives, and attempts to reach out of the root.

Both peers unpack by containerd's diff service, so all is the same for both; the test says what that is.
"""

import gzip
import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.testing.private_containerd import PLUGIN_NAMESPACE, SHIM_NAMESPACE

from .conftest import Code, Peer

SNAPSHOTTER = "overlayfs"
GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CANARY = "nv-canary-of-layers"
# Every image is new, for both peers: content in one namespace is known in the other.
FRESH = "etc/fresh"


class Layer:
    """A tar archive under construction."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()
        self.tar = tarfile.TarFile(fileobj=self.buffer, mode="w", format=tarfile.GNU_FORMAT)
        self.file(FRESH, secrets.token_bytes(16))

    def file(self, name: str, data: bytes = b"", mode: int = 0o644, uid: int = 0) -> "Layer":
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.uid = len(data), mode, uid
        self.tar.addfile(member, io.BytesIO(data))
        return self

    def link(self, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> "Layer":
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        self.tar.addfile(member)
        return self

    def folder(self, name: str) -> "Layer":
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        self.tar.addfile(member)
        return self

    def bytes(self) -> bytes:
        self.tar.close()
        return self.buffer.getvalue()


def described(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@asynccontextmanager
async def offered(tars: list[bytes], blobs: list[bytes] | None = None, **settings: object) -> AsyncIterator[str]:
    """The name of an image of these layers, in a registry. blobs: what is sent, where it isn't the tars gzip'ed."""
    blobs = blobs or [gzip.compress(tar, 1) for tar in tars]
    rootfs = {"type": "layers", "diff_ids": [digest(tar) for tar in tars]}
    config = json.dumps({"config": settings, "rootfs": rootfs}).encode()
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": described("application/vnd.oci.image.config.v1+json", config),
        "layers": [described(GZIP_LAYER, blob) for blob in blobs],
    }
    document = json.dumps(manifest).encode()
    by_digest = {digest(data): data for data in (config, document, *blobs)}

    async def answer(request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        data = document if name == "v1" else by_digest.get(name, b"")
        media_type = manifest_type if "/manifests/" in request.path else "application/octet-stream"
        headers = {"Docker-Content-Digest": digest(data)}
        return web.Response(body=data, content_type=media_type, headers=headers, status=200 if data else 404)

    application = web.Application()
    application.router.add_get("/v2/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}/odd:v1"
    finally:
        await runner.cleanup()


async def pull(cri: Peer, name: str) -> None:
    await cri.images.PullImage(criv1.PullImageRequest(image=criv1.ImageSpec(image=name)))


@asynccontextmanager
async def unpacked(cri: Peer, tars: list[bytes], tmp_path: Path) -> AsyncIterator[Path]:
    """The root of the pulled image, mounted as a container would see it."""
    async with offered(tars) as name:
        await pull(cri, name)
    chain = ""
    for tar in tars:
        chain = digest(f"{chain} {digest(tar)}".encode()) if chain else digest(tar)
    namespace = SHIM_NAMESPACE if cri.name == "shim" else PLUGIN_NAMESPACE
    client = ContainerdClient(cri.containerd.layout.socket, namespace)
    key = f"look-{secrets.token_hex(4)}"
    labels = {"containerd.io/gc.root": "test"}
    view = snapshotsv1.ViewSnapshotRequest(snapshotter=SNAPSHOTTER, key=key, parent=chain, labels=labels)
    (mount,) = (await client.snapshots.View(view)).mounts
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", mount.type, "-o", ",".join(mount.options), mount.source, str(root)], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=True)
        await client.snapshots.Remove(snapshotsv1.RemoveSnapshotRequest(snapshotter=SNAPSHOTTER, key=key))
        await client.close()


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")} - {FRESH, "etc"}


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda layer: layer.file(f"../../../../../../../../{CANARY}"), {CANARY}),
        (lambda layer: layer.file(f"/{CANARY}"), {CANARY}),
        (lambda layer: layer.file(f"a/../../../{CANARY}"), {CANARY}),
        (lambda layer: layer.folder("tmp").link("out", "/tmp").file(f"out/{CANARY}"), {"out", "tmp", f"tmp/{CANARY}"}),
        (lambda layer: layer.link("out", "../../../..").file(f"out/{CANARY}"), {"out", CANARY}),
    ],
    ids=["dots", "absolute", "dots-within", "absolute-link", "relative-link"],
)
async def test_a_layer_stays_within_its_root(
    cri: Peer, tmp_path: Path, build: Callable[[Layer], Layer], expected: set[str]
) -> None:
    async with unpacked(cri, [build(Layer()).bytes()], tmp_path) as root:
        assert tree(root) == expected
    assert not any(Path(folder, CANARY).exists() for folder in ("/", "/tmp", cri.containerd.data_dir))


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../../../../etc/hostname", "out/hostname"])
async def test_a_hard_link_out_of_the_root_is_refused(cri: Peer, target: str) -> None:
    layer = Layer().link("out", "/proc/self/root/etc").link("stolen", target, tarfile.LNKTYPE)
    async with offered([layer.bytes()]) as name:
        with pytest.raises(grpc.aio.AioRpcError):
            await pull(cri, name)
        assert not await known(cri, name)


async def known(cri: Peer, name: str) -> bool:
    request = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name))
    return (await cri.images.ImageStatus(request)).HasField("image")


async def test_whiteouts_hide_what_is_below(cri: Peer, tmp_path: Path) -> None:
    lower = Layer().file("gone", b"1").file("stays", b"1").folder("dir").file("dir/gone", b"1").folder("all")
    lower.file("all/a", b"1").file("all/b", b"1").folder("removed").file("removed/a", b"1")
    upper = Layer().file(".wh.gone").file("dir/.wh.gone").file("dir/new", b"2").file(".wh.removed").folder("all")
    upper.file("all/.wh..wh..opq").file("all/c", b"2").file(".wh.never-was")
    async with unpacked(cri, [lower.bytes(), upper.bytes()], tmp_path) as root:
        assert tree(root) == {"stays", "dir", "dir/new", "all", "all/c"}


async def test_a_file_replaces_a_folder_and_a_folder_a_file(cri: Peer, tmp_path: Path) -> None:
    lower = Layer().folder("a").file("a/x").file("b", b"1")
    upper = Layer().file("a", b"2").folder("b").file("b/x")
    async with unpacked(cri, [lower.bytes(), upper.bytes()], tmp_path) as root:
        assert tree(root) == {"a", "b", "b/x"}
        assert (root / "a").read_bytes() == b"2"


async def test_ten_thousand_small_files(cri: Peer, tmp_path: Path) -> None:
    layer = Layer()
    for number in range(10_000):
        layer.file(f"f/{number % 100}/{number}", b"%d" % number)
    async with unpacked(cri, [layer.bytes()], tmp_path) as root:
        assert sum(path.is_file() for path in (root / "f").rglob("*")) == 10_000
        assert (root / "f/99/9999").read_bytes() == b"9999"


async def test_hard_links_devices_and_long_names(cri: Peer, tmp_path: Path) -> None:
    long = "/".join(["n" * 100] * 20)
    layer = Layer().file("one", b"same").link("two", "one", tarfile.LNKTYPE).file(long, b"deep")
    async with unpacked(cri, [layer.bytes()], tmp_path) as root:
        assert (root / "one").stat().st_ino == (root / "two").stat().st_ino
        assert (root / long).read_bytes() == b"deep"


def sparse(folder: Path, tar_format: str) -> bytes:
    """A file with a hole of 8 MiB, as GNU tar writes it."""
    with (folder / "sparse").open("wb") as file:
        file.seek(8 << 20)
        file.write(secrets.token_bytes(8))
    command = ["tar", "--sparse", f"--format={tar_format}", "-C", str(folder), "-cf", "-", "sparse"]
    return subprocess.run(command, check=True, capture_output=True).stdout


async def test_a_sparse_file_is_whole(cri: Peer, tmp_path: Path) -> None:
    tar = sparse(tmp_path, "posix")
    assert len(tar) < 1 << 20
    async with unpacked(cri, [Layer().bytes(), tar], tmp_path) as root:
        assert (root / "sparse").read_bytes() == (tmp_path / "sparse").read_bytes()


async def test_the_older_kind_of_sparse_file_is_refused(cri: Peer, tmp_path: Path) -> None:
    """containerd does not know it: members of type S."""
    tar = sparse(tmp_path, "gnu")
    async with offered([tar]) as name:
        with pytest.raises(grpc.aio.AioRpcError, match="unhandled tar header type"):
            await pull(cri, name)
        assert not await known(cri, name)


def broken(tar: bytes, how: str) -> bytes:
    packed = gzip.compress(tar)
    return {
        "cut gzip": packed[: len(packed) // 2],
        "flipped bit": packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:],
        "cut tar": gzip.compress(tar[: 512 + 100]),
        "no gzip": secrets.token_bytes(1000),
        "no tar": gzip.compress(b"x" * 2000 + secrets.token_bytes(8)),
        "another layer": gzip.compress(Layer().bytes()),
    }[how]


@pytest.mark.parametrize("how", ["cut gzip", "flipped bit", "cut tar", "no gzip", "no tar", "another layer"])
async def test_a_broken_layer_fails_the_pull_and_leaves_nothing(cri: Peer, how: str) -> None:
    tar = Layer().file("data", secrets.token_bytes(5000)).bytes()
    async with offered([tar], [broken(tar, how)]) as name:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await pull(cri, name)
        assert failure.value.code() in (Code.UNKNOWN, Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION)
        assert not await known(cri, name)


async def test_an_image_is_unpacked_when_it_is_needed(cri: Peer) -> None:
    """Another client of containerd may have fetched it only."""
    tar = Layer().bytes()
    async with offered([tar]) as name:
        await pull(cri, name)
    client = ContainerdClient(cri.containerd.layout.socket, SHIM_NAMESPACE if cri.name == "shim" else PLUGIN_NAMESPACE)
    try:
        await client.snapshots.Remove(snapshotsv1.RemoveSnapshotRequest(snapshotter=SNAPSHOTTER, key=digest(tar)))
    finally:
        await client.close()
    config = cri.container_config()
    config.image.image = name
    await cri.create(await cri.sandbox(), config)


async def test_a_missing_layer(cri: Peer) -> None:
    tar = Layer().bytes()
    async with offered([tar, tar], [gzip.compress(tar), b""]) as name:
        with pytest.raises(grpc.aio.AioRpcError):
            await pull(cri, name)
        assert not await known(cri, name)


async def test_volumes_of_the_image_may_be_written_in_a_read_only_root(cri: Peer, tmp_path: Path) -> None:
    layer = Layer().folder("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    layer.folder("srv").folder("srv/data").file("srv/data/seed", b"sown", uid=7).link("data", "/srv/data").folder("own")
    config = cri.container_config("/bin/busybox", "sleep", "1000000")
    config.linux.security_context.readonly_rootfs = True
    config.mounts.add(host_path=str(tmp_path), container_path="/own/")
    async with offered([layer.bytes()], Volumes={"/data": {}, "/fresh/deep": {}, "/own": {}}) as name:
        await pull(cri, name)
        config.image.image = name
        container = await cri.container(await cri.sandbox(), config)
    script = (
        "cat /srv/data/seed; stat -c %u /srv/data/seed; touch /srv/data/a /fresh/deep/a /own/a && echo done; touch /a"
    )
    answer = await cri.exec(container, "/bin/busybox", "sh", "-c", script)
    assert answer.stdout.decode() == "sown7\ndone\n"
    assert "Read-only" in answer.stderr.decode()
    assert (tmp_path / "a").exists()
    (mount,) = (await cri.status(container)).mounts
    assert mount.container_path == "/own/"
