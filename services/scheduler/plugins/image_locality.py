"""Prefers nodes that already hold the Pod's images, the more bytes the better."""

from collections.abc import Sequence

from navarch.services.scheduler.cluster import Cluster, NodeInfo, PodInfo
from navarch.services.scheduler.framework import MAX_SCORE, ScoreCheck
from navarch.services.scheduler.queue import Change

# Below the lower bound an image is pulled in no time; above the upper one more bytes change nothing.
LOWER_BYTES = 23 << 20
UPPER_BYTES_A_CONTAINER = 1000 << 20


class ImageLocality:
    """Scores the bytes that need no pull, scaled by how many nodes hold the image."""

    name = "ImageLocality"
    weight = 1
    wakes_on: frozenset[Change] = frozenset()

    def prepare(self, info: PodInfo, cluster: Cluster) -> ScoreCheck | None:
        """Nothing to say with fewer than two nodes."""
        if len(cluster) < 2:
            return None
        images = [normalized(container.image) for container in info.pod.spec.containers]
        upper = UPPER_BYTES_A_CONTAINER * len(images)

        def score(nodes: Sequence[NodeInfo]) -> Sequence[float]:
            share = {image: sum(image in node.images for node in nodes) / len(nodes) for image in set(images)}
            present = [sum(node.images.get(image, 0) * share[image] for image in images) for node in nodes]
            return [
                (min(max(size, LOWER_BYTES), upper) - LOWER_BYTES) / (upper - LOWER_BYTES) * MAX_SCORE
                for size in present
            ]

        return score


def normalized(image: str) -> str:
    """The name under which a runtime lists an image: with its tag."""
    return image if "@" in image or ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"
