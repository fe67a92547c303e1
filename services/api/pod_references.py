"""Which ConfigMaps and Secrets a Pod names: what its node has to read, and may."""

from collections.abc import Iterator

from navarch.protos.k8s.core import v1_pb2 as corev1

# (kind, name) in the Pod's namespace.
Reference = tuple[str, str]
CONFIG_MAP, SECRET = "ConfigMap", "Secret"


def references(pod: corev1.Pod) -> set[Reference]:
    """All ConfigMaps and Secrets that the Pod names."""
    return {reference for reference in _references(pod.spec) if reference[1]}


def _references(spec: corev1.PodSpec) -> Iterator[Reference]:
    containers: list[corev1.Container | corev1.EphemeralContainerCommon]
    containers = [*spec.init_containers, *spec.containers]
    containers += [container.ephemeral_container_common for container in spec.ephemeral_containers]
    for container in containers:
        for source in container.env_from:
            yield CONFIG_MAP, source.config_map_ref.local_object_reference.name
            yield SECRET, source.secret_ref.local_object_reference.name
        for env in container.env:
            yield CONFIG_MAP, env.value_from.config_map_key_ref.local_object_reference.name
            yield SECRET, env.value_from.secret_key_ref.local_object_reference.name
    for volume in spec.volumes:
        yield CONFIG_MAP, volume.volume_source.config_map.local_object_reference.name
        yield SECRET, volume.volume_source.secret.secret_name
        for projection in volume.volume_source.projected.sources:
            yield CONFIG_MAP, projection.config_map.local_object_reference.name
            yield SECRET, projection.secret.local_object_reference.name
    for secret in spec.image_pull_secrets:
        yield SECRET, secret.name
