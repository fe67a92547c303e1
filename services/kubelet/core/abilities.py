"""What the runtime of the node can do for a Pod, as far as Pods ask for more than every runtime can. Pure.

The CRI says it for each runtime handler; of volumes that are images it says nothing, there the version counts.
"""

import re
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.references import ConfigError

# The first versions that mount images; others are believed to.
IMAGE_VOLUMES_SINCE = {"containerd": (2, 1), "cri-o": (1, 31)}


@dataclass(frozen=True, slots=True)
class Abilities:
    """Of one runtime handler. runtime: its name and version, for messages."""

    runtime: str = ""
    recursive_read_only: bool = False
    user_namespaces: bool = False
    image_volumes: bool = True


def abilities(node: corev1.Node, handler: str) -> Abilities:
    """As the status of the node has them. handler: "" for the runtime's own choice."""
    runtime = node.status.node_info.container_runtime_version
    name, _, version = runtime.partition("://")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    features = next((one.features for one in node.status.runtime_handlers if one.name == handler), None)
    return Abilities(
        runtime=f"{name} {version}",
        recursive_read_only=features is not None and features.recursive_read_only_mounts,
        user_namespaces=features is not None and features.user_namespaces,
        image_volumes=not numbers or numbers >= IMAGE_VOLUMES_SINCE.get(name, ()),
    )


def is_recursive_read_only(mount: corev1.VolumeMount, can: Abilities) -> bool:
    """Whether what is mounted below a mount is read-only too (KEP-3857). Raises ConfigError where it can't be had."""
    mode = mount.recursive_read_only
    if mode in ("", "Disabled"):
        return False
    asked = f'volume "{mount.name}" requested recursive read-only mode, but it is not'
    if not mount.read_only:
        raise ConfigError(f"{asked} read-only")
    if mount.mount_propagation not in ("", "None"):
        raise ConfigError(f'{asked} compatible with propagation "{mount.mount_propagation}"')
    if mode == "Enabled" and not can.recursive_read_only:
        raise ConfigError(f"{asked} supported by the runtime")
    return can.recursive_read_only


def check_image_volume(name: str, can: Abilities) -> None:
    """Raises ConfigError where images can't be mounted: such runtimes know nothing of what they are asked."""
    if not can.image_volumes:
        raise ConfigError(f'volume "{name}" is an image, which {can.runtime} cannot mount')


def image_volumes(pod: corev1.Pod, container: corev1.Container) -> list[tuple[str, corev1.ImageVolumeSource]]:
    """The volumes of a Pod that are images and that one of its containers mounts."""
    mounted = {mount.name for mount in container.volume_mounts}
    volumes = [volume for volume in pod.spec.volumes if volume.name in mounted]
    return [(one.name, one.volume_source.image) for one in volumes if one.volume_source.HasField("image")]
