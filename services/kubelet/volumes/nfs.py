"""NFS exports, in a Pod's own words or as a PersistentVolume, mounted by the helper program of the system."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted, refuse_block

MOUNT = "mount"
# A server that does not answer holds the helper up for minutes.
TIMEOUT_S = 120.0


class NfsVolumes:
    """The NFS volumes of a node."""

    plugin = "kubernetes.io~nfs"
    read_only = False

    def fits(self, wanted: Wanted) -> bool:
        """By either source."""
        return _source(wanted) is not None

    async def mount(self, wanted: Wanted) -> Path:
        """Mount the export, unless it is mounted."""
        refuse_block(wanted, "nfs")
        source, directory = _source(wanted), wanted.directory
        assert source is not None
        if await asyncio.to_thread(directory.is_mount):
            return directory
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        options = ["ro"] if source.read_only or wanted.read_only else []
        if wanted.persistent is not None:
            options += wanted.persistent.spec.mount_options
        arguments = ["-t", "nfs", *(["-o", ",".join(options)] if options else [])]
        host = f"[{source.server}]" if ":" in source.server else source.server
        await _run([*arguments, f"{host}:{source.path}", str(directory)])
        return directory

    async def refresh(self, wanted: Wanted) -> None:
        """What is in it is the server's."""

    async def unmount(self, directory: Path) -> None:
        """The manager unmounts it."""

    def in_use(self) -> Sequence[str]:
        """Nothing is attached."""
        return ()


def _source(wanted: Wanted) -> corev1.NFSVolumeSource | None:
    if wanted.persistent is not None:
        given = wanted.persistent.spec.persistent_volume_source
        return given.nfs if given.HasField("nfs") else None
    source = wanted.volume.volume_source
    return source.nfs if source.HasField("nfs") else None


async def _run(arguments: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        MOUNT,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
        ended = f"exit status {process.returncode}"
    except TimeoutError:
        output, ended = b"", f"no answer within {TIMEOUT_S:.0f} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        said = output.decode(errors="replace").strip()
        command = f"Mounting command: {MOUNT}\nMounting arguments: {' '.join(arguments)}"
        raise MountFailure(f"mount failed: {ended}\n{command}\nOutput: {said}")
