"""What a Pod's environment and volumes are made of: ConfigMaps, Secrets, Services, and facts of the node."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.cgroup_names import CgroupNames
from navarch.services.kubelet.core.ephemeral import ephemeral_containers

# (kind, name) in the Pod's namespace.
Reference = tuple[str, str]
CONFIG_MAP, SECRET = "ConfigMap", "Secret"


class ConfigError(Exception):
    """The Pod cannot be configured (yet): something it names is missing or unfit. The message says what."""


class Lookup(Protocol):
    """Reads the objects that a Pod names; None when there is no such object."""

    def config_map(self, namespace: str, name: str) -> corev1.ConfigMap | None:
        """A ConfigMap."""
        ...

    def secret(self, namespace: str, name: str) -> corev1.Secret | None:
        """A Secret."""
        ...

    def services(self) -> Sequence[corev1.Service]:
        """All Services of all namespaces."""
        ...


@dataclass(frozen=True, slots=True)
class HostDns:
    """The resolver configuration of the host."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What Pods learn of, and take from, their node."""

    name: str
    host_ips: tuple[str, ...]
    cpu_millicores: int
    memory_bytes: int
    ephemeral_storage_bytes: int = 0
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_dns: HostDns = field(default_factory=HostDns)
    # Where the API server is, for Pods of a cluster without a `kubernetes` Service.
    api_host: str = ""
    api_port: str = ""
    # The sizes of huge pages that the node knows: "2Mi".
    page_sizes: tuple[str, ...] = ()
    # Where seccomp profiles of type Localhost are.
    seccomp_root: str = "/var/lib/kubelet/seccomp"
    groups: CgroupNames = field(default_factory=CgroupNames)


def find_config_map(lookup: Lookup, namespace: str, name: str, *, optional: bool) -> corev1.ConfigMap | None:
    """A ConfigMap; None only when optional. Raises ConfigError."""
    found = lookup.config_map(namespace, name)
    if found is None and not optional:
        raise ConfigError(f'configmap "{name}" not found')
    return found


def find_secret(lookup: Lookup, namespace: str, name: str, *, optional: bool) -> corev1.Secret | None:
    """A Secret; None only when optional. Raises ConfigError."""
    found = lookup.secret(namespace, name)
    if found is None and not optional:
        raise ConfigError(f'secret "{name}" not found')
    return found


def references(pod: corev1.Pod) -> set[Reference]:
    """All ConfigMaps and Secrets that the Pod names."""
    return {reference for reference in _references(pod) if reference[1]}


def projects_trust_bundles(pod: corev1.Pod) -> bool:
    """Whether a volume of the Pod has certificates of ClusterTrustBundles."""
    return any(
        projection.HasField("cluster_trust_bundle")
        for volume in pod.spec.volumes
        for projection in volume.volume_source.projected.sources
    )


def _references(pod: corev1.Pod) -> Iterator[Reference]:
    for container in [*pod.spec.init_containers, *pod.spec.containers, *ephemeral_containers(pod)]:
        for source in container.env_from:
            yield CONFIG_MAP, source.config_map_ref.local_object_reference.name
            yield SECRET, source.secret_ref.local_object_reference.name
        for env in container.env:
            yield CONFIG_MAP, env.value_from.config_map_key_ref.local_object_reference.name
            yield SECRET, env.value_from.secret_key_ref.local_object_reference.name
    for volume in pod.spec.volumes:
        source_ = volume.volume_source
        yield CONFIG_MAP, source_.config_map.local_object_reference.name
        yield SECRET, source_.secret.secret_name
        for projection in source_.projected.sources:
            yield CONFIG_MAP, projection.config_map.local_object_reference.name
            yield SECRET, projection.secret.local_object_reference.name
    for secret in pod.spec.image_pull_secrets:
        yield SECRET, secret.name
