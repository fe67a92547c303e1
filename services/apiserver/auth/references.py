"""Which objects a node may read: those that its Pods name, the volumes of their claims, and what is attached to it."""

from collections.abc import Callable, Mapping

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.kinds import KINDS
from navarch.services.api.pod_references import CONFIG_MAP, SECRET, references
from navarch.services.apiserver.cacher.cachers import Cachers

POD = KINDS.of(corev1.Pod)
VOLUME = KINDS.of(corev1.PersistentVolume)
CLAIM = KINDS.of(corev1.PersistentVolumeClaim)
ATTACHMENT = KINDS.of(storagev1.VolumeAttachment)


class PodReferences:
    """Answers from the cache of Pods. A kubelet learns of its Pods from there too, so it is never ahead."""

    def __init__(self, cachers: Cachers) -> None:
        self._cachers = cachers

    async def ready(self) -> None:
        """Wait until what is asked is known."""
        for kind in (POD, CLAIM, VOLUME, ATTACHMENT):
            await self._cachers.of(kind).ready()

    def has(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a Pod that is bound to the node names this object, or it is about the node."""
        if not name:
            return False
        if resource == "pods":
            # Of one that is gone a kubelet is to hear just that.
            pod = self._cachers.of(POD).cache.get(f"{namespace}/{name}")
            return pod is None or pod.decode().spec.node_name == node
        if resource == "volumeattachments":
            attachment = self._cachers.of(ATTACHMENT).cache.get(name)
            return attachment is not None and attachment.decode().spec.node_name == node
        pods = list(self._cachers.of(POD).cache.on_node(node))
        if resource == "persistentvolumes":
            return any(name in self._volumes(pod.namespace, pod.decode()) for pod in pods)
        if resource == "secrets" and any(
            (namespace, name) in self._volume_secrets(pod.namespace, pod.decode()) for pod in pods
        ):
            return True
        names = _NAMES[resource]
        return any(pod.namespace == namespace and name in names(pod.decode()) for pod in pods)

    def _volume_secrets(self, namespace: str, pod: corev1.Pod) -> set[tuple[str, str]]:
        """What a CSI driver needs on the node for the Pod's volumes."""
        cache = self._cachers.of(VOLUME).cache
        volumes = (cache.get(name) for name in self._volumes(namespace, pod))
        found = set()
        for volume in volumes:
            if volume is not None:
                csi = volume.decode().spec.persistent_volume_source.csi
                secrets = (csi.node_stage_secret_ref, csi.node_publish_secret_ref, csi.node_expand_secret_ref)
                found |= {(secret.namespace, secret.name) for secret in secrets}
        return found

    def _volumes(self, namespace: str, pod: corev1.Pod) -> set[str]:
        cache = self._cachers.of(CLAIM).cache
        claims = (cache.get(f"{namespace}/{name}") for name in claims_of(pod))
        return {claim.decode().spec.volume_name for claim in claims if claim is not None}


def claims_of(pod: corev1.Pod) -> set[str]:
    """The PersistentVolumeClaims of a Pod, those made for it included."""
    named = {volume.volume_source.persistent_volume_claim.claim_name for volume in pod.spec.volumes}
    made = {f"{pod.metadata.name}-{volume.name}" for volume in pod.spec.volumes if _is_ephemeral(volume)}
    return (named | made) - {""}


def _is_ephemeral(volume: corev1.Volume) -> bool:
    return volume.volume_source.HasField("ephemeral")


def _device_claims(pod: corev1.Pod) -> set[str]:
    made = {status.resource_claim_name for status in pod.status.resource_claim_statuses}
    return {claim.resource_claim_name for claim in pod.spec.resource_claims} | made


def _named(kind: str) -> Callable[[corev1.Pod], set[str]]:
    return lambda pod: {name for found, name in references(pod) if found == kind}


_NAMES: Mapping[str, Callable[[corev1.Pod], set[str]]] = {
    "configmaps": _named(CONFIG_MAP),
    "secrets": _named(SECRET),
    "persistentvolumeclaims": claims_of,
    "resourceclaims": _device_claims,
    "serviceaccounts": lambda pod: {pod.spec.service_account_name},
}
