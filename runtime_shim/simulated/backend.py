"""The simulated backend as a whole."""

from collections.abc import Callable

from navarch.runtime_shim.simulated.containers import Containers
from navarch.runtime_shim.simulated.images import SimulatedImages
from navarch.runtime_shim.simulated.node import Node
from navarch.runtime_shim.simulated.pods import Pods
from navarch.runtime_shim.simulated.sandboxes import Sandboxes
from navarch.runtime_shim.simulated.statistics import Statistics
from navarch.runtime_shim.simulated.streaming import SimulatedStreaming
from navarch.services.base.clock import Clock


class SimulatedRuntime(Sandboxes, Containers, Statistics, Node):
    """RuntimeService."""

    def __init__(self, pods: Pods, images: SimulatedImages, clock: Clock, pod_cidr: str) -> None:
        Sandboxes.__init__(self, pods)
        Containers.__init__(self, pods, images, clock)
        Statistics.__init__(self, pods)
        Node.__init__(self, pod_cidr)


class SimulatedBackend:
    """A whole runtime without containers. State lives as long as the process."""

    def __init__(self, pod_cidr: str, clock: Clock, new_id: Callable[[], str]) -> None:
        pods = Pods(pod_cidr, new_id, lambda: int(clock.now() * 1e9))
        self.images = SimulatedImages(clock)
        self.runtime = SimulatedRuntime(pods, self.images, clock, pod_cidr)
        self.streaming = SimulatedStreaming(self.runtime)

    async def start(self) -> None:
        """Nothing to wait for."""

    async def stop(self) -> None:
        """End the timers."""
        await self.runtime.close()
