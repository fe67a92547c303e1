"""Images of a simulated host: names and sizes, no content."""

import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import images_pb2
from navarch.runtime_shim import reference
from navarch.runtime_shim.errors import InvalidArgument, NotFound, RuntimeFailure
from navarch.runtime_shim.simulated.behavior import Behavior
from navarch.services.base.clock import Clock

OCI_NAME = "io.containerd.image.name"
# It is held in memory.
ARCHIVE_BYTES = 1 << 30
OCI_TAG = "org.opencontainers.image.ref.name"


class SimulatedImages:
    """ImageBackend: every image can be pulled, unless an annotation says otherwise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sizes: dict[str, int] = {}

    async def list_images(self, request: criv1.ListImagesRequest) -> criv1.ListImagesResponse:
        """All, or the one asked for."""
        wanted = request.filter.image.image
        found = self._find(wanted) if wanted else None
        names = list(self._sizes) if not wanted else [found] if found else []
        return criv1.ListImagesResponse(images=map(self._image, names))

    async def image_status(self, request: criv1.ImageStatusRequest) -> criv1.ImageStatusResponse:
        """Empty when the image is not here, as the contract has it."""
        if not request.image.image:
            raise InvalidArgument("the request names no image")
        name = self._find(request.image.image)
        answer = criv1.ImageStatusResponse(image=self._image(name) if name else None)
        if name and request.verbose:
            answer.info["info"] = json.dumps({"name": name})
        return answer

    async def pull_image(self, request: criv1.PullImageRequest) -> criv1.PullImageResponse:
        """Take the image in after the time that the Pod's annotations ask for."""
        if not request.image.image:
            raise InvalidArgument("the request names no image")
        behavior = Behavior.of(request.sandbox_config.annotations, "")
        await self._clock.sleep(behavior.pull_delay_seconds)
        if behavior.pull_error:
            raise RuntimeFailure(behavior.pull_error)
        name = normalized(request.image.image)
        self._sizes[name] = behavior.image_size_bytes
        return criv1.PullImageResponse(image_ref=image_id(name))

    async def remove_image(self, request: criv1.RemoveImageRequest) -> criv1.RemoveImageResponse:
        """Idempotent."""
        if name := self._find(request.image.image):
            del self._sizes[name]
        return criv1.RemoveImageResponse()

    async def image_fs_info(self, request: criv1.ImageFsInfoRequest) -> criv1.ImageFsInfoResponse:
        """The sizes add up."""
        images, containers = (
            criv1.FilesystemUsage(
                timestamp=int(self._clock.now() * 1e9),
                fs_id=criv1.FilesystemIdentifier(mountpoint="/"),
                used_bytes=criv1.UInt64Value(value=size),
                inodes_used=criv1.UInt64Value(value=count),
            )
            for size, count in ((sum(self._sizes.values()), len(self._sizes)), (0, 0))
        )
        return criv1.ImageFsInfoResponse(image_filesystems=[images], container_filesystems=[containers])

    async def import_(self, requests: AsyncIterator[images_pb2.ImportRequest]) -> images_pb2.ImportResponse:
        """Read the names of an OCI archive; its layers are not needed."""
        archive = bytearray()
        async for request in requests:
            archive += request.data
            if len(archive) > ARCHIVE_BYTES:
                raise InvalidArgument(f"the archive exceeds {ARCHIVE_BYTES} bytes")
        names = archive_names(archive)
        for name in names:
            self._sizes[name] = len(archive)
        return images_pb2.ImportResponse(images=names)

    def require(self, image: str) -> str:
        """The id of an image that is here. Raises NotFound."""
        name = self._find(image)
        if name is None:
            raise NotFound(f"image {image!r} not found")
        return image_id(name)

    def _find(self, image: str) -> str | None:
        """By any of its names, its id, or the beginning of that."""
        name = "" if reference.image_id(image) else normalized(image)
        if name in self._sizes:
            return name
        prefix = reference.id_prefix(image)
        for known in self._sizes:
            if name == digest_name(known) or (prefix and image_id(known).startswith(prefix)):
                return known
        return None

    def _image(self, name: str) -> criv1.Image:
        return criv1.Image(
            id=image_id(name),
            repo_tags=[] if "@" in name else [name],
            repo_digests=[digest_name(name)],
            size=self._sizes[name],
            spec=criv1.ImageSpec(image=image_id(name)),
            uid=criv1.Int64Value(value=0),
        )


def image_id(name: str) -> str:
    """The digest in a name; else one that the same name always has."""
    return reference.parse(name).digest or f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def digest_name(name: str) -> str:
    """The repository by digest."""
    return f"{reference.parse(name).repository}@{image_id(name)}"


def normalized(image: str) -> str:
    """The full name. Raises InvalidArgument for what can't be one."""
    return str(reference.parse(image))


def archive_names(archive: bytes | bytearray) -> list[str]:
    """The image names in the index of an OCI archive. Raises InvalidArgument for anything else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            member = tar.extractfile("index.json")
            index = json.load(member) if member else {}
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise InvalidArgument(f"not an OCI archive: {error}") from error
    annotations = [manifest.get("annotations", {}) for manifest in index.get("manifests", [])]
    names = [one.get(OCI_NAME) or one.get(OCI_TAG) for one in annotations]
    return [normalized(name) for name in names if name]
