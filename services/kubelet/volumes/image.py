"""image: the files of an image, read-only (KEP-4639). The runtime mounts them; here is nothing to be done."""

from collections.abc import Sequence
from pathlib import Path

from navarch.services.kubelet.volumes.kinds import Wanted


class ImageVolumes:
    """The image volumes of a node."""

    plugin = "kubernetes.io~image"
    read_only = True

    def fits(self, wanted: Wanted) -> bool:
        """By the source."""
        return wanted.volume.volume_source.HasField("image")

    async def mount(self, wanted: Wanted) -> Path:
        """The image is pulled before a container that mounts it starts."""
        return wanted.directory

    async def refresh(self, wanted: Wanted) -> None:
        """An image does not change."""

    async def unmount(self, directory: Path) -> None:
        """It goes with its container."""

    def in_use(self) -> Sequence[str]:
        """Nothing is attached."""
        return ()
