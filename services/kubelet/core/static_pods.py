"""Static Pods: what is made of a manifest on the node, and of the Pod that mirrors it in the API.

The name gets the node's behind it, and the uid is a hash of node, source and content: the same file is the same Pod
across restarts, a changed one is another. The API shows a mirror, whose changes change nothing here.
"""

import hashlib

from navarch.protos.k8s.core import v1_pb2 as corev1

CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_SEEN = "kubernetes.io/config.seen"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
SOURCE_FILE, SOURCE_HTTP = "file", "http"
DEFAULT_NAMESPACE = "default"
# What the API has and a node without it cannot give.
NEEDS_API = "static pods may not reference {}"


class Unfit(Exception):
    """A manifest that makes no static Pod. The message says why."""


def is_static(pod: corev1.Pod) -> bool:
    """Whether it comes from the node itself."""
    source = pod.metadata.annotations.get(CONFIG_SOURCE, "")
    return source not in ("", "api") and CONFIG_MIRROR not in pod.metadata.annotations


def is_mirror(pod: corev1.Pod) -> bool:
    """Whether it only shows what the node runs on its own."""
    return CONFIG_MIRROR in pod.metadata.annotations


def static_pod(written: corev1.Pod, node: str, source: str, kind: str = SOURCE_FILE) -> corev1.Pod:
    """The Pod of a manifest. source: the path of its file, or its URL; kind: which of the two. Raises Unfit."""
    # The rules of the API take megabytes that a node without static Pods need not spend.
    from navarch.services.api.kinds import KINDS
    from navarch.services.api.strategy import strategy_for

    pod = corev1.Pod()
    pod.CopyFrom(written)
    metadata = pod.metadata
    if not metadata.name:
        raise Unfit("metadata.name is required")
    metadata.ClearField("owner_references")
    metadata.ClearField("finalizers")
    pod.ClearField("status")
    if references := _references(pod):
        raise Unfit(NEEDS_API.format(" or ".join(references)))
    digest = hashlib.sha256(written.SerializeToString(deterministic=True))
    digest.update(f"\0{node}\0{source}".encode())
    metadata.uid = digest.hexdigest()[:32]
    metadata.name = f"{metadata.name}-{node}".lower()
    metadata.namespace = metadata.namespace or DEFAULT_NAMESPACE
    metadata.annotations[CONFIG_HASH] = metadata.uid
    metadata.annotations[CONFIG_SOURCE] = kind
    pod.spec.node_name = node
    if not any(one.operator == "Exists" and one.effect == "NoExecute" and not one.key for one in pod.spec.tolerations):
        pod.spec.tolerations.add(operator="Exists", effect="NoExecute")
    strategy = strategy_for(KINDS.of(corev1.Pod))
    strategy.default(pod)
    if faults := strategy.validate(pod):
        raise Unfit("; ".join(map(str, faults)))
    return pod


def _references(pod: corev1.Pod) -> list[str]:
    """What of the API a Pod needs."""
    spec, found = pod.spec, []
    if spec.service_account_name:
        found.append("service accounts")
    if spec.image_pull_secrets or any(_has_secret(volume.volume_source) for volume in spec.volumes):
        found.append("secrets")
    if any(_has_config_map(volume.volume_source) for volume in spec.volumes):
        found.append("config maps")
    if any(volume.volume_source.HasField("persistent_volume_claim") for volume in spec.volumes):
        found.append("persistent volume claims")
    for container in [*spec.init_containers, *spec.containers]:
        sources = [env.value_from for env in container.env]
        if any(source.HasField("secret_key_ref") for source in sources) or any(
            source.HasField("secret_ref") for source in container.env_from
        ):
            found.append("secrets")
        if any(source.HasField("config_map_key_ref") for source in sources) or any(
            source.HasField("config_map_ref") for source in container.env_from
        ):
            found.append("config maps")
    return list(dict.fromkeys(found))


def _has_secret(source: corev1.VolumeSource) -> bool:
    return source.HasField("secret") or any(one.HasField("secret") for one in source.projected.sources)


def _has_config_map(source: corev1.VolumeSource) -> bool:
    return source.HasField("config_map") or any(one.HasField("config_map") for one in source.projected.sources)


def mirror_of(pod: corev1.Pod, node_uid: str) -> corev1.Pod:
    """The Pod that shows a static one in the API."""
    mirror = corev1.Pod(spec=pod.spec)
    mirror.metadata.name, mirror.metadata.namespace = pod.metadata.name, pod.metadata.namespace
    mirror.metadata.labels.update(pod.metadata.labels)
    mirror.metadata.annotations.update(pod.metadata.annotations)
    mirror.metadata.annotations[CONFIG_MIRROR] = pod.metadata.annotations[CONFIG_HASH]
    mirror.metadata.owner_references.add(
        api_version="v1", kind="Node", name=pod.spec.node_name, uid=node_uid, controller=True
    )
    return mirror


def shows(mirror: corev1.Pod, pod: corev1.Pod) -> bool:
    """Whether a mirror is of this static Pod as it is now."""
    return mirror.metadata.annotations.get(CONFIG_MIRROR) == pod.metadata.annotations[CONFIG_HASH]
