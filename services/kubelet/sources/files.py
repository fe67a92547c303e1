"""Static Pods from the manifests in a directory of the node, or in one file.

The directory is looked at when the kernel says that something in it has changed (inotify), and now and then in any
case. What cannot be read spoils only itself.
"""

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.inotify import changes
from navarch.services.kubelet.core.static_pods import SOURCE_FILE
from navarch.services.kubelet.sources.source import Found, read_manifest

CHECK_S = 20.0
SUFFIXES = frozenset({".yaml", ".yml", ".json", ""})


class Files:
    """The manifests at a path, for one node."""

    def __init__(self, path: Path, node: str, check_s: float = CHECK_S) -> None:
        self._path = path
        self._node = node
        self.check_s = check_s

    def changes(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when the kernel tells of a change."""
        return changes(self._path if self._path.is_dir() else self._path.parent)

    async def read(self) -> Found:
        """All Pods that there are manifests of."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Found:
        pods: dict[str, corev1.Pod] = {}
        faults: dict[str, str] = {}
        for path in self._files():
            try:
                one = read_manifest(path.read_text(), str(path), self._node, SOURCE_FILE)
            except (OSError, UnicodeDecodeError) as failure:
                one = Found(None, {str(path): str(failure)})
            pods.update(one.pods or {})
            faults.update(one.faults)
        return Found(pods, faults)

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path] if self._path.exists() else []
        files = (path for path in self._path.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
        return sorted(path for path in files if path.is_file())
