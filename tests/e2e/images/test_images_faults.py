"""Registries that stall, throttle and stumble; a caller that gives up; a disk that is full."""

import asyncio
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.protos.containerd.services.leases import v1_pb2 as leasesv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.daemon import Layout
from navarch.runtime_shim.containerd.images.model import OCI_MANIFEST, Manifest, parse_json
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.services.base.clock import SystemClock
from navarch.testing.faulty_registry import Registry, an_image, an_index, answers, descriptor, digest_of, stalls

from .conftest import QUICK, Images

Make = Callable[..., Images]


async def leftovers(client: ContainerdClient, digest: str) -> tuple[int, int]:
    """Leases of ours, and unfinished blobs of this digest."""
    leases = (await client.leases.List(leasesv1.ListRequest())).leases
    statuses = (await client.content.ListStatuses(contentv1.ListStatusesRequest())).statuses
    return sum(one.id.startswith("navarch-") for one in leases), sum(digest in one.ref for one in statuses)


async def drop_leases(client: ContainerdClient) -> None:
    for lease in (await client.leases.List(leasesv1.ListRequest())).leases:
        await client.leases.Delete(leasesv1.DeleteRequest(id=lease.id, sync=True))


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
async def test_a_registry_that_falls_silent_is_given_up(
    make_images: Make, client: ContainerdClient, registry: Registry, path: str
) -> None:
    registry.add(an_image(), "v1")
    registry.faults.append(stalls(path, b""))
    with pytest.raises(errors.Unavailable, match=f"{registry.host} does not answer"):
        await make_images(tries=2).pull(f"{registry.host}/web:v1")
    await drop_leases(client)


async def test_a_silence_within_a_blob_is_gone_on_from(images: Images, registry: Registry) -> None:
    image = registry.add(an_image(100_000), "v1")
    registry.faults.append(stalls(digest_of(image.layer), image.layer[:60_000], times=1))
    assert await images.pull(f"{registry.host}/web:v1") == image.id
    assert registry.asked(digest_of(image.layer))[1].headers["Range"] == "bytes=60000-"


@pytest.mark.parametrize("root", ["reachable", "not reachable"])
async def test_both_ways_of_storing_a_blob(make_images: Make, registry: Registry, tmp_path: Path, root: str) -> None:
    """Also gone on with, and with bytes that are not the right ones."""
    images = make_images() if root == "reachable" else make_images(root=tmp_path)
    image = registry.add(an_image(3 << 20), "v1")
    registry.faults.append(stalls(digest_of(image.layer), image.layer[: 1 << 20], times=1))
    assert await images.pull(f"{registry.host}/web:v1") == image.id
    another = registry.add(an_image(3 << 20), "v2")
    registry.blobs[digest_of(another.layer)] = another.layer[:-1] + bytes([another.layer[-1] ^ 1])
    with pytest.raises(errors.InvalidArgument, match="wrong content"):
        await images.pull(f"{registry.host}/web:v2")


async def test_wrong_bytes_of_an_earlier_try_do_not_spoil_the_next(images: Images, registry: Registry) -> None:
    """What a power failure may leave: the size is right and the bytes are not."""
    image = registry.add(an_image(100_000), "v1")
    registry.faults.append(stalls(digest_of(image.layer), bytes(60_000), times=1))
    assert await images.pull(f"{registry.host}/web:v1") == image.id


async def test_retry_after_is_waited_for(make_images: Make, registry: Registry) -> None:
    image = registry.add(an_image(), "v1")
    registry.faults.append(answers(429, path="/blobs/", times=1, Retry_After="1"))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await make_images().pull(f"{registry.host}/web:v1") == image.id
    assert loop.time() - begin >= 1


async def test_a_retry_after_that_is_too_long_is_left_to_the_caller(images: Images, registry: Registry) -> None:
    registry.faults.append(answers(429, Retry_After="3600"))
    with pytest.raises(errors.Unavailable, match="FAULT: status 429"):
        await images.pull(f"{registry.host}/web:v1")
    assert len(registry.requests) == 1


async def test_tries_count_anew_after_progress(make_images: Make, registry: Registry) -> None:
    """Many breaks, each after a megabyte and more: that ends well, however many there are."""
    image = registry.add(an_image(10 << 20), "v1")
    piece = 3 << 19

    async def cut(request: web.Request) -> web.StreamResponse | None:
        if digest_of(image.layer) not in request.path:
            return None
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        response = web.StreamResponse(status=206 if begin else 200)
        response.content_length = len(image.layer) - begin
        await response.prepare(request)
        await response.write(image.layer[begin : begin + piece])
        if begin + piece < len(image.layer):
            await asyncio.sleep(3600)
        return response

    registry.faults.append(cut)
    assert await make_images(tries=2, progress_timeout_s=0.1).pull(f"{registry.host}/web:v1") == image.id


async def test_a_caller_that_gives_up_leaves_what_the_next_goes_on_with(
    images: Images, client: ContainerdClient, registry: Registry
) -> None:
    image = registry.add(an_image(3 << 20), "v1")
    layer, name = digest_of(image.layer), f"{registry.host}/web:v1"
    registry.faults.append(stalls(layer, image.layer[: 1 << 20]))
    await drop_leases(client)
    pulling = asyncio.create_task(images.pull(name))
    while not registry.asked(layer):
        await asyncio.sleep(0.01)
    pulling.cancel()
    await asyncio.gather(pulling, return_exceptions=True)
    assert await images.find(name) is None
    assert await leftovers(client, layer) == (1, 1)
    registry.faults.clear()
    assert await images.pull(name) == image.id
    await drop_leases(client)
    assert await leftovers(client, layer) == (0, 0)
    assert await images.find(name) is not None


async def test_what_was_refused_leaves_nothing(images: Images, client: ContainerdClient, registry: Registry) -> None:
    image = registry.add(an_image(), "v1")
    await drop_leases(client)
    del registry.blobs[digest_of(image.layer)]
    with pytest.raises(errors.NotFound):
        await images.pull(f"{registry.host}/web:v1")
    assert await leftovers(client, digest_of(image.layer)) == (0, 0)
    with pytest.raises(errors.NotFound):
        await client.content.Info(contentv1.InfoRequest(digest=digest_of(image.config)))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b'{"schemaVersion": 1, "fsLayers": []}', "schema 1 is obsolete"),
        (b'{"schemaVersion": 2}', "unsupported manifest"),
        (b'{"schemaVersion": 2, "manifests": [], "layers": []}', "an index and a manifest at once"),
        (b'{"manifests": {}}', "not a list"),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:..", "size": 1}}', "unsupported digest"),
        (b"[]", "not a JSON object"),
        (b"<html>", "is not JSON"),
        (b"\x00" * (9 << 20), "more than"),
    ],
)
async def test_broken_manifests(images: Images, registry: Registry, document: bytes, words: str) -> None:
    async def send(request: web.Request) -> web.StreamResponse | None:
        return web.Response(body=document)

    registry.faults.append(send)
    with pytest.raises(errors.InvalidArgument, match=words):
        await images.pull(f"{registry.host}/web:v1")


@pytest.mark.parametrize("bound", [{"layers": 0}, {"image_bytes": 500}])
async def test_an_image_beyond_the_bounds_is_not_fetched(
    make_images: Make, registry: Registry, bound: dict[str, int]
) -> None:
    registry.add(an_image(), "v1")
    with pytest.raises(errors.InvalidArgument, match="1 layers of"):
        await make_images(**bound).pull(f"{registry.host}/web:v1")
    assert not registry.asked("/blobs/")


async def test_indexes_within_indexes(images: Images, registry: Registry) -> None:
    image = registry.add(an_image())
    index = an_index(descriptor(OCI_MANIFEST, image.manifest))
    for level in range(5):
        registry.manifests |= {f"v{level}": index, digest_of(index): index}
        index = an_index(descriptor("application/vnd.oci.image.index.v1+json", index))
    assert await images.pull(f"{registry.host}/web:v2") == image.id
    assert await images.find(f"{registry.host}/web:v2") is not None
    with pytest.raises(errors.InvalidArgument, match="indexes in each other"):
        await images.pull(f"{registry.host}/web:v3")


@pytest.fixture
async def small_disk() -> AsyncIterator[tuple[ContainerdClient, Layout]]:
    """A containerd on a disk of 64 MB."""
    folder = Path(tempfile.mkdtemp(prefix=f"nv-{secrets.token_hex(2)}-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    layout = Layout(folder)
    command = [sys.executable, "-m", "navarch.runtime_shim.containerd.daemon", f"--data-dir={folder}"]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")  # noqa: ASYNC220
    client = ContainerdClient(layout.socket, "k8s.io")
    try:
        async with asyncio.timeout(30):
            await client.connected()
        yield client, layout
    finally:
        await client.close()
        daemon.terminate()
        daemon.wait()
        subprocess.run(["umount", "-R", str(folder)], check=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize("way", ["by file", "by gRPC"])
@pytest.mark.parametrize("size", [100 << 20, 40 << 20], ids=["during download", "during unpacking"])
async def test_a_full_disk_fails_the_pull_and_is_free_again(
    small_disk: tuple[ContainerdClient, Layout], registry: Registry, tmp_path: Path, way: str, size: int
) -> None:
    client, layout = small_disk
    options: PullOptions = QUICK
    root = layout.root if way == "by file" else tmp_path
    images = Images(client, "overlayfs", tmp_path, root, SystemClock(), options)
    large = registry.add(an_image(size), "large")
    with pytest.raises((errors.ResourceExhausted, OSError), match="(?i)no space left on device"):
        await images.pull(f"{registry.host}/web:large")
    assert await leftovers(client, digest_of(large.layer)) == (0, 0)
    keys = [info.name async for part in client.snapshots.List(_all()) for info in part.info]
    assert not keys
    assert Manifest.read(parse_json(large.manifest, "")).layers
    image = registry.add(an_image(20 << 20), "small")
    assert await images.pull(f"{registry.host}/web:small") == image.id


def _all() -> snapshotsv1.ListSnapshotsRequest:
    return snapshotsv1.ListSnapshotsRequest(snapshotter="overlayfs")


async def test_two_services_at_once_on_the_same_image(make_images: Make, registry: Registry) -> None:
    """As after a shim was killed and its successor began, while containerd still holds the lock of the first."""
    image = registry.add(an_image(5 << 20), "v1")
    name = f"{registry.host}/web:v1"
    pulls = (make_images().pull(name), make_images().pull(name))
    done = await asyncio.gather(*pulls, return_exceptions=True)
    assert image.id in done
    assert await make_images().pull(name) == image.id
