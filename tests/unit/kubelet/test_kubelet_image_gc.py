"""Which images go."""

from typing import Any, cast

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import VirtualClock
from navarch.services.kubelet.core.eviction_signals import Observation
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError
from navarch.services.kubelet.core.image_policy import ImagePolicy
from navarch.services.kubelet.node.image_gc import ImageGc, ImageGcFailure
from navarch.services.kubelet.node.usage import UsageReader
from navarch.services.kubelet.runtime import Runtime


class Host:
    """A runtime with images, and the disk that holds them: 10,000 bytes."""

    def __init__(self, policy: ImagePolicy) -> None:
        self.clock = VirtualClock()
        self.images: dict[str, criv1.Image] = {}
        self.containers: list[criv1.Container] = []
        self.pods: list[corev1.Pod] = []
        self.free = 10_000
        self.events: list[tuple[str, str]] = []
        self.gc = ImageGc(
            cast(Runtime, self),
            cast(UsageReader, self),
            self.clock,
            policy,
            lambda: self.pods,
            lambda _, reason, message: self.events.append((reason, message)),
            lambda: None,
        )

    def add(self, name: str, size: int, *, pinned: bool = False) -> None:
        self.images[name] = criv1.Image(id=name, repo_tags=[f"{name}:1"], size=size, pinned=pinned)
        self.free -= size

    async def list_images(self) -> list[criv1.Image]:
        return list(self.images.values())

    async def list_containers(self) -> list[criv1.Container]:
        return self.containers

    async def sandbox_image(self) -> str:
        return "pause:1"

    async def remove_image(self, image: str) -> None:
        self.free += self.images.pop(image).size

    async def image_disk(self) -> Observation:
        return Observation(self.free, 10_000)


async def host(policy: ImagePolicy | None = None, **images: int) -> Host:
    made = Host(policy or ImagePolicy())
    for name, size in images.items():
        made.add(name, size)
    return made


async def test_nothing_goes_below_the_high_threshold() -> None:
    made = await host(a=4_000, b=4_000)
    await made.gc.collect()
    assert set(made.images) == {"a", "b"}


async def test_the_least_recently_used_go_until_the_low_threshold_is_reached() -> None:
    made = await host(recent=2_000, old=1_000, older=1_000)
    made.containers = [criv1.Container(image_ref="old"), criv1.Container(image_ref="recent")]
    await made.gc.collect()
    made.clock.advance(1000)
    made.containers = [criv1.Container(image=criv1.ImageSpec(image="recent:1"))]
    await made.gc.collect()
    made.containers = []
    made.add("new", 5_000)
    made.clock.advance(1)
    await made.gc.collect()
    assert set(made.images) == {"recent", "old", "new"}


async def test_used_pinned_and_young_ones_stay_and_that_is_told() -> None:
    made = await host(used=2_000, volume=1_000, pause=10)
    made.add("pinned", 1_000, pinned=True)
    made.containers = [criv1.Container(image_ref="used")]
    pod: Any = corev1.Pod()
    pod.spec.volumes.add(name="v").volume_source.image.reference = "volume:1"
    made.pods = [pod]
    await made.gc.collect()
    made.clock.advance(1000)
    made.add("young", 5_500)
    with pytest.raises(ImageGcFailure):
        await made.gc.collect()
    assert set(made.images) == {"used", "volume", "pinned", "young", "pause"}
    message = (
        "Failed to garbage collect required amount of images. Attempted to free 1510 bytes, "
        "but only found 0 bytes eligible to free."
    )
    assert made.events == [("FreeDiskSpaceFailed", message)]


async def test_images_unused_for_the_maximum_age_go() -> None:
    made = await host(ImagePolicy(maximum_age_s=3600), unused=1, used=1)
    made.containers = [criv1.Container(image_ref="used")]
    await made.gc.collect()
    made.clock.advance(3600)
    await made.gc.collect()
    assert set(made.images) == {"unused", "used"}
    made.clock.advance(1)
    await made.gc.collect()
    assert set(made.images) == {"used"}


async def test_before_pods_have_to_go_all_unused_ones_do() -> None:
    made = await host(a=1, b=1)
    await made.gc.remove_unused()
    assert made.images == {}


@pytest.mark.parametrize(
    ("high", "low", "part"), [(101, 80, "invalid HighThresholdPercent 101"), (80, 80, "can not be higher")]
)
def test_thresholds_that_make_no_sense(high: int, low: int, part: str) -> None:
    with pytest.raises(ThresholdError, match=part):
        ImagePolicy(high, low)
