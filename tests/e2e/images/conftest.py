"""The image service on a private containerd, without a shim around it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.containerd.images.service import ImageService
from navarch.services.base.clock import SystemClock
from navarch.testing.faulty_registry import Registry, serving

# What a test waits for is over within a second or two.
QUICK = PullOptions(config_dirs=(), retry_s=0.01, progress_timeout_s=0.5, dial_timeout_s=2)


class Images(ImageService):
    """With shorthands."""

    async def pull(self, name: str, **auth: str) -> str:
        request = criv1.PullImageRequest(image=criv1.ImageSpec(image=name), auth=criv1.AuthConfig(**auth))
        return (await self.pull_image(request)).image_ref

    async def find(self, name: str) -> criv1.Image | None:
        answer = await self.image_status(criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name)))
        return answer.image if answer.HasField("image") else None

    async def remove(self, name: str) -> None:
        await self.remove_image(criv1.RemoveImageRequest(image=criv1.ImageSpec(image=name)))


@pytest.fixture
async def client(containerd: Any) -> AsyncIterator[ContainerdClient]:
    made = ContainerdClient(containerd.layout.socket, "k8s.io")
    await made.connected()
    yield made
    await made.close()


@pytest.fixture
def make_images(client: ContainerdClient, containerd: Any, tmp_path: Path) -> Callable[..., Images]:
    """An image service with other options than `QUICK`."""

    def make(**options: Any) -> Images:
        root = options.pop("root", containerd.layout.root)
        return Images(client, "overlayfs", tmp_path, root, SystemClock(), replace(QUICK, **options))

    return make


@pytest.fixture
def images(make_images: Callable[..., Images]) -> Images:
    return make_images()


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with serving(Registry()) as served:
        yield served
