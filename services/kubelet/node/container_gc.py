"""Removes what is left of Pods that run no more.

A Pod that runs has its old runs removed by its machine, which keeps the newest of each container; what belongs to no
Pod is ended as an orphan. Left for here are the containers of Pods that have finished, which are kept for their logs
until the disk is short, and the log directories of Pods that are gone.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.log_rotation import all_files
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

PERIOD_S = 60.0


class ContainerGc:
    """The container garbage collector of one node. complete: whether all Pods of the node are known."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        layout: Layout,
        workers: Callable[[], Iterable[PodWorker]],
        complete: Callable[[], bool],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._layout = layout
        self._workers = workers
        self._complete = complete
        self._log = get_logger("kubelet.containers")

    async def run(self) -> None:
        """Remove the logs of Pods that are gone, now and then, for ever."""
        while True:
            await self._clock.sleep(PERIOD_S)
            await self.remove_orphaned_logs()

    async def remove_orphaned_logs(self) -> None:
        """Remove the log directories whose Pods are not known, once all Pods are."""
        logs = Path(self._layout.logs)
        # Listed first: a Pod that appears while we look has no directory in the list.
        found = await asyncio.to_thread(lambda: list(logs.iterdir()) if logs.is_dir() else [])
        if not self._complete():
            return
        known = {worker.uid for worker in self._workers()}
        for directory in found:
            if directory.name.rpartition("_")[2] not in known:
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def remove_unused(self) -> None:
        """Remove the containers and sandboxes of Pods that have finished, with their logs."""
        for worker in self._workers():
            if worker.machine.stage != Stage.FINISHED:
                continue
            runtime, pod = worker.view.runtime, worker.view.pod
            try:
                for run in list(runtime.containers.values()):
                    if not run.alive and not run.lost:
                        await self._runtime.remove_container(run.id)
                        for log in all_files(Path(self._layout.log_file(pod, run.name, run.attempt))):
                            log.unlink(missing_ok=True)
                for box in list(runtime.sandboxes):
                    await self._runtime.remove_sandbox(box)
            except RuntimeFailure as failure:
                self._log.warning("containers.not_removed", pod=worker.view.name, error=failure)
