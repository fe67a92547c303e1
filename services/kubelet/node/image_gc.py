"""Removes images that nobody uses: when their disk is full, when they are old, and before Pods would have to go."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.image_policy import ImagePolicy, ImageRecords
from navarch.services.kubelet.core.observed import CONTAINER_LABEL, NAME_LABEL, NAMESPACE_LABEL
from navarch.services.kubelet.node.usage import UsageReader
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

PERIOD_S = 300.0


@dataclass(frozen=True, slots=True)
class ImageUse:
    """An image and who has it. used_at: Unix seconds; 0 for never since the kubelet began."""

    image: criv1.Image
    used_by: tuple[str, ...]
    used_at: float


class ImageGcFailure(Exception):
    """Not as much was freed as had to be."""


class ImageGc:
    """The image garbage collector of one node."""

    def __init__(
        self,
        runtime: Runtime,
        usage: UsageReader,
        clock: Clock,
        policy: ImagePolicy,
        pods: Callable[[], Iterable[corev1.Pod]],
        tell_node: Callable[[Literal["Normal", "Warning"], str, str], None],
        on_removed: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._usage = usage
        self._clock = clock
        self._policy = policy
        self._pods = pods
        self._tell_node = tell_node
        self._on_removed = on_removed
        self._records = ImageRecords()
        self._started_at = clock.now()
        self._log = get_logger("kubelet.images")

    async def run(self) -> None:
        """Collect now and then, for ever. The first failure in a row is only logged."""
        failures = 0
        while True:
            try:
                await self.collect()
                failures = 0
            except (RuntimeFailure, ImageGcFailure, OSError) as failure:
                failures += 1
                self._log.warning("images.not_collected", error=failure)
                if failures > 1:
                    self._tell_node("Warning", "ImageGCFailed", str(failure))
            await self._clock.sleep(PERIOD_S)

    async def collect(self) -> None:
        """Remove what is too old, then as much as the disk needs. Raises ImageGcFailure or RuntimeFailure."""
        now = await self._look()
        if self._policy.maximum_age_s:
            for id_ in self._records.unused_for(now, self._policy.maximum_age_s, self._started_at):
                await self._remove(id_)
        disk = await self._usage.image_disk()
        if not disk.capacity:
            message = "invalid capacity 0 on image filesystem"
            self._tell_node("Warning", "InvalidDiskCapacity", message)
            raise ImageGcFailure(message)
        wanted = self._policy.to_free(disk.capacity, disk.available)
        if wanted <= 0:
            return
        freed = await self._free(wanted)
        if freed < wanted:
            message = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._tell_node("Warning", "FreeDiskSpaceFailed", message)
            raise ImageGcFailure(message)

    async def remove_unused(self) -> None:
        """Remove every image that nobody uses. Raises RuntimeFailure."""
        await self._free(None)

    async def report(self) -> list[ImageUse]:
        """The images of the node, the largest first. Raises RuntimeFailure."""
        images = await self._runtime.list_images()
        users = await self._users()
        self._records.look(images, users, self._clock.now())
        found = []
        for image in sorted(images, key=lambda image: image.size, reverse=True):
            names = {image.id, *image.repo_tags, *image.repo_digests}
            used_by = {user for name in names for user in users.get(name, ())}
            found.append(ImageUse(image, tuple(sorted(used_by)), self._records.used_at(image.id)))
        return found

    async def _look(self) -> float:
        images = await self._runtime.list_images()
        users = await self._users()
        now = self._clock.now()
        self._records.look(images, users, now)
        return now

    async def _users(self) -> dict[str, set[str]]:
        """By id and name of an image: namespace/pod or namespace/pod/container of those that have it."""
        users: dict[str, set[str]] = {}
        for pod in self._pods():
            for volume in _image_volumes(pod):
                users.setdefault(volume.reference, set()).add(f"{pod.metadata.namespace}/{pod.metadata.name}")
        for container in await self._runtime.list_containers():
            user = "/".join(container.labels.get(label, "") for label in (NAMESPACE_LABEL, NAME_LABEL, CONTAINER_LABEL))
            for name in (container.image.image, container.image_ref, container.image_id):
                users.setdefault(name, set()).add(user)
        users.setdefault(await self._runtime.sandbox_image(), set())
        users.pop("", None)
        return users

    async def _free(self, wanted: int | None) -> int:
        """Remove unused images until so many bytes are free, or all of them. Returns what was freed."""
        now = await self._look()
        freed = 0
        for id_, size in self._records.unused(now, self._policy.minimum_age_s):
            if wanted is not None and freed >= wanted:
                break
            if await self._remove(id_):
                freed += size
        return freed

    async def _remove(self, id_: str) -> bool:
        try:
            await self._runtime.remove_image(id_)
        except RuntimeFailure as failure:
            self._log.warning("image.not_removed", image=id_, error=failure)
            return False
        self._log.info("image.removed", image=id_)
        self._on_removed()
        return True


def _image_volumes(pod: corev1.Pod) -> list[corev1.ImageVolumeSource]:
    return [one.volume_source.image for one in pod.spec.volumes if one.volume_source.HasField("image")]
