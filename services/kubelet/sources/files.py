"""Static Pods from the manifests in a directory of the node, or in one file.

The directory is looked at when the kernel says that something in it has changed (inotify), and every twenty seconds
in any case. What cannot be read spoils only itself. A Pod whose manifest has changed ends before its successor, which
has the same name, begins.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.inotify import changes
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.static_pods import Unfit, static_pod

LOOK_S = 20.0
# While a Pod has to end before the one that takes its place.
TURN_S = 0.1
SUFFIXES = frozenset({".yaml", ".yml", ".json", ""})


class Pods(Protocol):
    """Where static Pods are lived."""

    def get(self, uid: str) -> object | None:
        """The worker of a Pod."""
        ...

    def changed(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        """A Pod has come, or has to go."""
        ...


class StaticPods:
    """The static Pods of one node. on_change: called when others are wanted than before."""

    def __init__(self, path: Path, node: str, pods: Pods, clock: Clock, on_change: Callable[[], None]) -> None:
        self._path = path
        self._node = node
        self._pods = pods
        self._clock = clock
        self._on_change = on_change
        self._log = get_logger("kubelet.static")
        # By namespace/name: what is to run, and what runs.
        self._wanted: dict[str, corev1.Pod] = {}
        self._running: dict[str, corev1.Pod] = {}
        self._told: dict[str, str] = {}

    def wanted(self) -> Iterable[corev1.Pod]:
        """Those that are to run."""
        return list(self._wanted.values())

    async def run(self) -> None:
        """Keep looking, for ever."""
        with changes(self._path if self._path.is_dir() else self._path.parent) as changed:
            while True:
                # Forgotten before looking: what comes from now on is looked at again.
                changed.clear()
                await self.look()
                waits = [
                    asyncio.ensure_future(changed.wait()),
                    asyncio.ensure_future(self._clock.sleep(self._pause_s())),
                ]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()

    def _pause_s(self) -> float:
        return LOOK_S if self._running == self._wanted else TURN_S

    async def look(self) -> None:
        """Have exactly the Pods that the manifests say, as far as their predecessors are gone."""
        wanted = await asyncio.to_thread(self._read)
        if wanted != self._wanted:
            self._wanted = wanted
            self._on_change()
        for name, pod in list(self._running.items()):
            successor = wanted.get(name)
            if successor is None or successor.metadata.uid != pod.metadata.uid:
                if self._pods.get(pod.metadata.uid) is None:
                    del self._running[name]
                else:
                    self._pods.changed(pod, None)
        for name, pod in wanted.items():
            if name not in self._running:
                self._running[name] = pod
                self._pods.changed(None, pod)

    def _read(self) -> dict[str, corev1.Pod]:
        found: dict[str, corev1.Pod] = {}
        faults: dict[str, str] = {}
        for path in self._files():
            for pod in self._pods_of(path, faults):
                found[f"{pod.metadata.namespace}/{pod.metadata.name}"] = pod
        for place, fault in faults.items():
            if self._told.get(place) != fault:
                self._log.warning("static.unfit", manifest=place, error=fault)
        self._told = faults
        return found

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path] if self._path.exists() else []
        files = (path for path in self._path.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
        return sorted(path for path in files if path.is_file())

    def _pods_of(self, path: Path, faults: dict[str, str]) -> Iterable[corev1.Pod]:
        # Reading manifests takes megabytes that a node without static Pods need not spend.
        from navarch.services.api import manifest

        try:
            documents = manifest.load(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as failure:
            faults[str(path)] = str(failure)
            return
        for number, document in enumerate(documents):
            place = f"{path}#{number}"
            if document.error is not None:
                faults[place] = str(document.error)
            elif not isinstance(document.message, corev1.Pod):
                faults[place] = "only Pods can be static"
            else:
                try:
                    yield static_pod(document.message, self._node, str(path))
                except Unfit as unfit:
                    faults[place] = str(unfit)
