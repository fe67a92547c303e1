"""Whether a claim and its PersistentVolume are ready for a Pod; refusals as Kubernetes words them."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.node_selection import matches_node_selector
from navarch.services.kubelet.core.references import ConfigError

ONE_POD = "ReadWriteOncePod"
BLOCK = "Block"


def claim_name(pod: corev1.Pod, volume: corev1.Volume) -> str:
    """The claim that a volume is had by; "" for other volumes."""
    source = volume.volume_source
    if source.HasField("ephemeral"):
        return f"{pod.metadata.name}-{volume.name}"
    return source.persistent_volume_claim.claim_name


def check_claim(pod: corev1.Pod, volume: corev1.Volume, claim: corev1.PersistentVolumeClaim) -> None:
    """Raise ConfigError unless the claim is bound, and is the Pod's own where it was made for one."""
    metadata = claim.metadata
    if volume.volume_source.HasField("ephemeral") and not any(
        owner.controller and owner.uid == pod.metadata.uid for owner in metadata.owner_references
    ):
        raise ConfigError(
            f"PVC {metadata.namespace}/{metadata.name} was not created for pod "
            f"{pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
        )
    if metadata.HasField("deletion_timestamp"):
        raise ConfigError("PVC is being deleted")
    if claim.status.phase != "Bound":
        raise ConfigError("PVC is not bound")
    if not claim.spec.volume_name:
        raise ConfigError("PVC has empty pvc.Spec.VolumeName")


def check_volume(volume: corev1.PersistentVolume, claim: corev1.PersistentVolumeClaim) -> None:
    """Raise ConfigError unless the PersistentVolume is bound to just this claim."""
    name, reference = volume.metadata.name, volume.spec.claim_ref
    if not volume.spec.HasField("claim_ref"):
        raise ConfigError(
            f"found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        )
    if reference.uid != claim.metadata.uid:
        raise ConfigError(
            f"found PV object {name} but its pv.Spec.ClaimRef.UID {reference.uid} "
            f"does not point to claim.UID {claim.metadata.uid}"
        )


def is_for_node(persistent: corev1.PersistentVolume, node: corev1.Node) -> bool:
    """Whether a PersistentVolume is to be had on a node."""
    affinity = persistent.spec.node_affinity
    return not affinity.HasField("required") or matches_node_selector(affinity.required, node)


def check_mode(pod: corev1.Pod, volume: corev1.Volume, persistent: corev1.PersistentVolume) -> bool:
    """Whether it is a block device. Raises ConfigError where containers want what it is not."""
    mounted, devices = used_volumes(pod)
    block = persistent.spec.volume_mode == BLOCK
    if block and volume.name in mounted:
        raise ConfigError(f"volume {volume.name} has volumeMode Block, but is specified in volumeMounts")
    if not block and volume.name in devices:
        raise ConfigError(f"volume {volume.name} has volumeMode Filesystem, but is specified in volumeDevices")
    return block


def used_volumes(pod: corev1.Pod) -> tuple[set[str], set[str]]:
    """The names of the volumes that some container mounts, and of those that some container has as a device."""
    containers: list[corev1.Container | corev1.EphemeralContainerCommon] = [
        *pod.spec.init_containers,
        *pod.spec.containers,
        *(one.ephemeral_container_common for one in pod.spec.ephemeral_containers),
    ]
    mounted = {mount.name for container in containers for mount in container.volume_mounts}
    devices = {device.name for container in containers for device in container.volume_devices}
    return mounted, devices


def is_for_one_pod(persistent: corev1.PersistentVolume) -> bool:
    """Whether no two Pods may have it at once."""
    return list(persistent.spec.access_modes) == [ONE_POD]
