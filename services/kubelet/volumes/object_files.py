"""configMap, secret, downwardAPI and projected: files made from objects, renewed when these change.

What is secret is kept in memory (tmpfs), never on disk.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.memory_volume import memory_volume_bytes
from navarch.services.kubelet.core.references import Lookup, NodeContext
from navarch.services.kubelet.core.trust_bundles import TrustBundle
from navarch.services.kubelet.core.volume_content import Files, token_projections, volume_files
from navarch.services.kubelet.volumes import atomic
from navarch.services.kubelet.volumes.empty_dir import mount_tmpfs
from navarch.services.kubelet.volumes.kinds import Wanted

# The member of VolumeSource -> the name of the plug-in.
PLUGINS = {
    "config_map": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "downward_api": "kubernetes.io~downward-api",
    "projected": "kubernetes.io~projected",
}


class Tokens(Protocol):
    """Where the tokens of service accounts come from."""

    async def token(self, pod: corev1.Pod, projection: corev1.ServiceAccountTokenProjection) -> str:
        """A token that is good for a while. Raises ConfigError."""
        ...


class ObjectFiles:
    """The volumes of one of these sources. member: of `VolumeSource`."""

    read_only = True

    def __init__(
        self,
        member: str,
        lookup: Lookup,
        node: NodeContext,
        tokens: Tokens,
        *,
        can_mount: bool,
        bundles: Callable[[], Sequence[TrustBundle] | None] = lambda: None,
    ) -> None:
        self._member = member
        self._lookup = lookup
        self._node = node
        self._tokens = tokens
        self._in_memory = can_mount and member != "config_map"
        self._bundles = bundles

    @property
    def plugin(self) -> str:
        """Of this source."""
        return PLUGINS[self._member]

    def fits(self, wanted: Wanted) -> bool:
        """By the source."""
        return wanted.volume.volume_source.HasField(self._member)

    async def mount(self, wanted: Wanted) -> Path:
        """Write the files."""
        source = wanted.volume.volume_source
        tokens = [await self._tokens.token(wanted.pod, projection) for projection in token_projections(source)]
        files = volume_files(wanted.pod, source, self._lookup, self._node, tokens, self._bundles())
        await asyncio.to_thread(self._write, wanted, files)
        return wanted.directory

    def _write(self, wanted: Wanted, files: Files) -> None:
        directory = wanted.directory
        if not directory.exists():
            directory.mkdir(parents=True)
            directory.chmod(0o777)
        if self._in_memory:
            mount_tmpfs(directory, memory_volume_bytes(wanted.pod, wanted.volume, self._node.memory_bytes))
        atomic.write(directory, files, wanted.stamp, wanted.fs_group)

    async def refresh(self, wanted: Wanted) -> None:
        """Write what has changed."""
        await self.mount(wanted)

    async def unmount(self, directory: Path) -> None:
        """The manager removes it."""

    def in_use(self) -> Sequence[str]:
        """Nothing is attached."""
        return ()
