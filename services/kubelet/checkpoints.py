"""Checkpoints of containers: CRI's, kept where the genuine kubelet keeps them, as far as the runtime can."""

from datetime import UTC, datetime
from pathlib import Path

from navarch.services.api.errors import InternalError, NotFound
from navarch.services.base.clock import Clock
from navarch.services.kubelet.core.observed import RUNNING
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure


class Checkpoints:
    """Makes them."""

    def __init__(self, runtime: Runtime, layout: Layout, clock: Clock) -> None:
        self._runtime = runtime
        self._layout = layout
        self._clock = clock

    async def make(self, worker: PodWorker, container: str, timeout_s: int) -> Path:
        """The archive of a running container. Raises NotFound for none, InternalError where the runtime refuses."""
        metadata = worker.view.pod.metadata
        run = worker.view.runtime.latest(container)
        if run is None or run.state != RUNNING:
            raise NotFound("containers", container, f"container {container} not found in pod {metadata.name}")
        directory = Path(self._layout.root) / "checkpoints"
        directory.mkdir(mode=0o700, exist_ok=True)
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"checkpoint-{metadata.name}_{metadata.namespace}-{container}-{stamp}.tar"
        try:
            await self._runtime.checkpoint_container(run.id, str(directory / name), timeout_s)
        except RuntimeFailure as failure:
            which = f"{metadata.namespace}/{metadata.name}/{container}"
            raise InternalError(f"checkpointing of {which} failed ({failure})") from failure
        return directory / name
