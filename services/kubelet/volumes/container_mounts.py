"""What is mounted into a container: parts of its Pod's volumes, its /etc/hosts, and a place for its last words.

All of it blocks on the disk; callers keep it off the event loop where it is much.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.abilities import Abilities, check_image_volume, is_recursive_read_only
from navarch.services.kubelet.core.container_config import PROPAGATION
from navarch.services.kubelet.core.environment import environment, expand
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, Lookup, NodeContext
from navarch.services.kubelet.core.sandbox_config import hosts_file
from navarch.services.kubelet.log_rotation import all_files
from navarch.services.kubelet.volumes import sub_paths
from navarch.services.kubelet.volumes.manager import VolumeManager

HOSTS_PATH = "/etc/hosts"


class ContainerMounts:
    """The mounts of containers. can_mount: False where parts of volumes cannot be pinned, as in tests."""

    def __init__(
        self, layout: Layout, lookup: Lookup, node: NodeContext, volumes: VolumeManager, *, can_mount: bool
    ) -> None:
        self._layout = layout
        self._lookup = lookup
        self._node = node
        self._volumes = volumes
        self._can_mount = can_mount

    def mounts(
        self,
        pod: corev1.Pod,
        container: corev1.Container,
        attempt: int,
        pod_ips: tuple[str, ...],
        can: Abilities,
        images: Mapping[str, str],
    ) -> Sequence[criv1.Mount]:
        """What is mounted into one run of a container. Raises ConfigError.

        images: of the volumes that are images, by the name of the volume.
        """
        volumes = {volume.name: volume for volume in pod.spec.volumes}
        mounts = []
        for index, mount in enumerate(container.volume_mounts):
            volume = volumes.get(mount.name)
            if volume is None:
                raise ConfigError(f"volume {mount.name} of mount {mount.mount_path} is not a volume of the Pod")
            made = criv1.Mount(
                container_path=mount.mount_path if mount.mount_path.startswith("/") else f"/{mount.mount_path}",
                readonly=mount.read_only or self._volumes.is_read_only(pod, mount.name),
                propagation=PROPAGATION[mount.mount_propagation],
                recursive_read_only=is_recursive_read_only(mount, can),
            )
            sub_path = self._sub_path(pod, container, mount, pod_ips)
            if volume.volume_source.HasField("image"):
                check_image_volume(mount.name, can)
                made.image.image = images[mount.name]
                made.image.user_specified_image = volume.volume_source.image.reference
                made.image_sub_path = sub_path
            else:
                made.host_path = str(self._host_path(pod, container, index, mount.name, sub_path))
            mounts.append(made)
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

    def devices(self, pod: corev1.Pod, container: corev1.Container) -> Sequence[criv1.Device]:
        """The volumes that a container has as block devices. Raises ConfigError."""
        volumes = {volume.name: volume.volume_source.persistent_volume_claim for volume in pod.spec.volumes}
        found = []
        for device in container.volume_devices:
            if device.name not in volumes:
                raise ConfigError(f"volume {device.name} of device {device.device_path} is not a volume of the Pod")
            # The runtime makes a device node of its own, by the numbers that the real one has.
            path = self._volumes.source(pod, device.name).resolve()
            rights = "r" if volumes[device.name].read_only else "mrw"
            found.append(criv1.Device(container_path=device.device_path, host_path=str(path), permissions=rights))
        return found

    def file(self, pod: corev1.Pod, volume: str, path: str) -> str | None:
        """What is in a file of a volume; None for one that is not there. Raises ConfigError."""
        try:
            return sub_paths.read(self._volumes.source(pod, volume), path).decode()
        except FileNotFoundError:
            return None
        except (sub_paths.Astray, OSError, UnicodeError) as failure:
            raise ConfigError(f"failed to read {path!r} of volume {volume}: {failure}") from failure

    def _sub_path(
        self, pod: corev1.Pod, container: corev1.Container, mount: corev1.VolumeMount, pod_ips: tuple[str, ...]
    ) -> str:
        if not mount.sub_path_expr:
            return mount.sub_path
        variables = environment(
            pod, container, self._lookup, self._node, pod_ips, lambda volume, path: self.file(pod, volume, path)
        )
        return expand(mount.sub_path_expr, variables)

    def _host_path(self, pod: corev1.Pod, container: corev1.Container, index: int, volume: str, sub_path: str) -> Path:
        source = self._volumes.source(pod, volume)
        if not sub_path:
            return source
        place = Path(self._layout.pod(pod.metadata.uid)) / "volume-subpaths" / volume / container.name
        return self._part(source, sub_path, place / str(index))

    def _part(self, volume: Path, sub_path: str, place: Path) -> Path:
        """A path in a volume, made if it is not there. Raises ConfigError when it leads outside."""
        try:
            if not (volume / sub_path).exists():
                sub_paths.make_directory(volume, sub_path, volume.stat().st_mode & 0o7777)
            if self._can_mount:
                sub_paths.bind(volume, sub_path, place)
                return place
            return sub_paths.inside(volume, sub_path)
        except sub_paths.Astray as failure:
            raise ConfigError(f"failed to prepare subPath {sub_path!r}: {failure}") from failure

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
