"""Makes, updates and releases the volumes of Pods.

Everything is found again from the Pod's uid and the file system, so that nothing is lost with the process:
preparing twice changes nothing, releasing takes away whatever is mounted below the Pod's directory.
All methods block on the disk; callers keep them off the event loop.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import memory_bytes
from navarch.services.base import mounting
from navarch.services.kubelet.core.container_config import PROPAGATION
from navarch.services.kubelet.core.environment import environment, expand
from navarch.services.kubelet.core.events_text import mount_failed
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, Lookup, NodeContext
from navarch.services.kubelet.core.sandbox_config import hosts_file
from navarch.services.kubelet.core.volume_content import volume_files
from navarch.services.kubelet.log_rotation import all_files
from navarch.services.kubelet.volumes import atomic
from navarch.services.kubelet.volumes.host_path import check_host_path

OBJECT_KINDS = {"config_map": "configmap", "secret": "secret", "downward_api": "downward-api", "projected": "projected"}
HOSTS_PATH = "/etc/hosts"


class VolumeManager:
    """The volumes of one node. can_mount: False where tmpfs is not to be had (then plain directories serve)."""

    def __init__(self, layout: Layout, lookup: Lookup, node: NodeContext, *, can_mount: bool) -> None:
        self._layout = layout
        self._lookup = lookup
        self._node = node
        self._can_mount = can_mount

    def prepare(self, pod: corev1.Pod, stamp: str) -> None:
        """Make the Pod's directories and volumes. Raises ConfigError naming the volume. Idempotent."""
        Path(self._layout.volumes(pod.metadata.uid)).mkdir(parents=True, exist_ok=True)
        Path(self._layout.log_directory(pod)).mkdir(parents=True, exist_ok=True)
        for volume in pod.spec.volumes:
            try:
                self._prepare(pod, volume, stamp)
            except (ConfigError, OSError) as failure:
                raise ConfigError(mount_failed(volume.name, str(failure))) from failure

    def refresh(self, pod: corev1.Pod, stamp: str) -> None:
        """Bring the files made from objects up to date. A missing object leaves the files as they are."""
        for volume in pod.spec.volumes:
            if (kind := _object_kind(volume)) is not None:
                try:
                    self._write_objects(pod, volume, kind, stamp)
                except ConfigError:
                    continue

    def _prepare(self, pod: corev1.Pod, volume: corev1.Volume, stamp: str) -> None:
        source = volume.volume_source
        if (kind := _object_kind(volume)) is not None:
            self._write_objects(pod, volume, kind, stamp)
        elif source.HasField("host_path"):
            check_host_path(source.host_path.path, source.host_path.type)
        elif source.HasField("empty_dir") or not source.ListFields():
            self._empty_dir(pod, volume)
        else:
            raise ConfigError(f"volume type {source.ListFields()[0][0].json_name} is not supported")

    def _write_objects(self, pod: corev1.Pod, volume: corev1.Volume, kind: str, stamp: str) -> None:
        files = volume_files(pod, volume.volume_source, self._lookup, self._node, ())
        atomic.write(self._directory(pod, volume, kind), files, stamp, _group(pod))

    def _empty_dir(self, pod: corev1.Pod, volume: corev1.Volume) -> None:
        directory = self._directory(pod, volume, "empty-dir")
        directory.mkdir(parents=True, exist_ok=True)
        spec = volume.volume_source.empty_dir
        if spec.medium == "Memory" and self._can_mount:
            size = memory_bytes(spec.size_limit) if spec.HasField("size_limit") else None
            if not directory.is_mount():
                options = f"size={size}" if size else ""
                mounting.mount("tmpfs", directory, "tmpfs", mounting.MS_NOSUID | mounting.MS_NODEV, options)
        gid = _group(pod)
        if gid is None:
            directory.chmod(0o777)
        elif directory.stat().st_gid != gid:
            os.chown(directory, -1, gid)
            directory.chmod(0o2775)

    def _directory(self, pod: corev1.Pod, volume: corev1.Volume, kind: str) -> Path:
        return Path(self._layout.volume(pod.metadata.uid, kind, volume.name))

    def mounts(
        self, pod: corev1.Pod, container: corev1.Container, attempt: int, pod_ips: tuple[str, ...]
    ) -> Sequence[criv1.Mount]:
        """What is mounted into one run of a container. Raises ConfigError."""
        sources = {volume.name: self._source(pod, volume) for volume in pod.spec.volumes}
        mounts = [self._mount(pod, container, mount, sources, pod_ips) for mount in container.volume_mounts]
        taken = {mount.container_path for mount in mounts}
        if HOSTS_PATH not in taken:
            mounts.append(criv1.Mount(container_path=HOSTS_PATH, host_path=self._hosts(pod, pod_ips)))
        message_path = container.termination_message_path
        if message_path and message_path not in taken:
            file = Path(self._layout.termination_message(pod.metadata.uid, container.name, attempt))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            # Whoever the container runs as may leave its last words.
            file.chmod(0o666)
            mounts.append(criv1.Mount(container_path=message_path, host_path=str(file)))
        Path(self._layout.log_file(pod, container.name, attempt)).parent.mkdir(parents=True, exist_ok=True)
        return mounts

    def _source(self, pod: corev1.Pod, volume: corev1.Volume) -> Path:
        source = volume.volume_source
        if source.HasField("host_path"):
            return Path(source.host_path.path)
        return self._directory(pod, volume, _object_kind(volume) or "empty-dir")

    def _mount(
        self,
        pod: corev1.Pod,
        container: corev1.Container,
        mount: corev1.VolumeMount,
        sources: dict[str, Path],
        pod_ips: tuple[str, ...],
    ) -> criv1.Mount:
        if mount.name not in sources:
            raise ConfigError(f"volume {mount.name} of mount {mount.mount_path} is not a volume of the Pod")
        host_path = sources[mount.name]
        sub_path = mount.sub_path
        if mount.sub_path_expr:
            sub_path = expand(mount.sub_path_expr, environment(pod, container, self._lookup, self._node, pod_ips))
        if sub_path:
            host_path = _inside(host_path, sub_path)
        mount_path = mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}"
        return criv1.Mount(
            container_path=mount_path,
            host_path=str(host_path),
            readonly=mount.read_only,
            propagation=PROPAGATION[mount.mount_propagation],
        )

    def _hosts(self, pod: corev1.Pod, pod_ips: tuple[str, ...]) -> str:
        path = Path(self._layout.hosts(pod.metadata.uid))
        path.parent.mkdir(parents=True, exist_ok=True)
        host_content = Path(HOSTS_PATH).read_text() if pod.spec.host_network else ""
        path.write_text(hosts_file(pod, self._node, pod_ips, host_content))
        return str(path)

    def forget_run(self, pod: corev1.Pod, container: str, attempt: int) -> None:
        """Remove the log and the last words of a run that is no longer kept."""
        for log in all_files(Path(self._layout.log_file(pod, container, attempt))):
            log.unlink(missing_ok=True)
        Path(self._layout.termination_message(pod.metadata.uid, container, attempt)).unlink(missing_ok=True)

    def remove_orphans(self, known: set[str]) -> None:
        """Remove the directories of Pods that are no more; for the start, when all Pods are known."""
        pods = Path(self._layout.pods)
        for directory in pods.iterdir() if pods.is_dir() else ():
            if directory.name not in known:
                _unmount_below(directory)
                shutil.rmtree(directory, ignore_errors=True)
        logs = Path(self._layout.logs)
        for directory in logs.iterdir() if logs.is_dir() else ():
            if directory.name.rpartition("_")[2] not in known:
                shutil.rmtree(directory, ignore_errors=True)

    def release(self, pod: corev1.Pod, *, everything: bool) -> None:
        """Unmount what is mounted for the Pod; with `everything`, remove its directories and logs. Idempotent."""
        directory = Path(self._layout.pod(pod.metadata.uid))
        _unmount_below(directory)
        if everything:
            shutil.rmtree(directory, ignore_errors=True)
            shutil.rmtree(self._layout.log_directory(pod), ignore_errors=True)


def _unmount_below(directory: Path) -> None:
    for point in mounting.mount_points(f"{directory}/"):
        mounting.unmount(point)


def _object_kind(volume: corev1.Volume) -> str | None:
    """The directory of a volume made from objects; None for other volumes."""
    fields = volume.volume_source.ListFields()
    return OBJECT_KINDS.get(fields[0][0].name) if fields else None


def _group(pod: corev1.Pod) -> int | None:
    context = pod.spec.security_context
    return context.fs_group if context.HasField("fs_group") else None


def _inside(volume: Path, sub_path: str) -> Path:
    """A path in a volume, made if it is not there. Raises ConfigError when it leads outside."""
    root = volume.resolve()
    target = (volume / sub_path).resolve()
    if target != root and root not in target.parents:
        raise ConfigError(f"subPath {sub_path!r} leads out of its volume")
    if not target.exists():
        target.mkdir(mode=0o750, parents=True)
        target.chmod(volume.stat().st_mode & 0o7777)
    return target
