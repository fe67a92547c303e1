"""The files of the volumes that are made from objects: configMap, secret, downwardAPI, projected."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.downward import container_named, field_value, resource_value
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.references import ConfigError, Lookup, NodeContext, find_config_map, find_secret
from navarch.services.kubelet.core.trust_bundles import TrustBundle, trust_anchors

DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume."""

    content: bytes
    mode: int
    # Its owner; None for the kubelet.
    uid: int | None = None


Files = dict[str, File]


def volume_files(
    pod: corev1.Pod,
    source: corev1.VolumeSource,
    lookup: Lookup,
    node: NodeContext,
    tokens: Sequence[str] = (),
    bundles: Sequence[TrustBundle] | None = None,
) -> Files:
    """Path to file, for one volume. Raises ConfigError for what is missing and not optional.

    tokens: one for each serviceAccountToken projection, in their order (`token_projections`). bundles: all
    ClusterTrustBundles; None where the cluster has no such objects.
    """
    namespace = pod.metadata.namespace
    if source.HasField("config_map"):
        config = source.config_map
        name, mode = config.local_object_reference.name, _mode(config)
        return _config_map(lookup, namespace, name, config.items, mode, config.optional)
    if source.HasField("secret"):
        secret = source.secret
        return _secret(lookup, namespace, secret.secret_name, secret.items, _mode(secret), secret.optional)
    if source.HasField("downward_api"):
        return _downward(pod, source.downward_api.items, _mode(source.downward_api), node)
    files: Files = {}
    mode = _mode(source.projected)
    ready = iter(tokens)
    for projection in source.projected.sources:
        if projection.HasField("service_account_token"):
            files[_safe(projection.service_account_token.path)] = _token(pod, next(ready), mode)
        elif projection.HasField("cluster_trust_bundle"):
            bundle = projection.cluster_trust_bundle
            files[_safe(bundle.path)] = File(trust_anchors(bundle, bundles), mode)
        else:
            files.update(_projected(pod, projection, mode, lookup, node))
    return files


def _projected(
    pod: corev1.Pod, projection: corev1.VolumeProjection, mode: int, lookup: Lookup, node: NodeContext
) -> Files:
    namespace = pod.metadata.namespace
    if projection.HasField("config_map"):
        part = projection.config_map
        return _config_map(lookup, namespace, part.local_object_reference.name, part.items, mode, part.optional)
    if projection.HasField("secret"):
        hidden = projection.secret
        return _secret(lookup, namespace, hidden.local_object_reference.name, hidden.items, mode, hidden.optional)
    if projection.HasField("downward_api"):
        return _downward(pod, projection.downward_api.items, mode, node)
    if projection.HasField("pod_certificate"):
        raise ConfigError("projected volume source podCertificate is not supported by this kubelet")
    return {}


def token_projections(source: corev1.VolumeSource) -> list[corev1.ServiceAccountTokenProjection]:
    """The tokens that a volume is to have."""
    sources = source.projected.sources
    return [one.service_account_token for one in sources if one.HasField("service_account_token")]


def _token(pod: corev1.Pod, text: str, mode: int) -> File:
    """Nobody but those who run in the Pod may read it, where it can be told who that is."""
    uid = common_user(pod)
    narrow = uid is not None or pod.spec.security_context.HasField("fs_group")
    return File(text.encode(), 0o600 if narrow else mode, uid)


def common_user(pod: corev1.Pod) -> int | None:
    """Whom all containers are told to run as; None where they differ, or one is not told."""
    shared = pod.spec.security_context
    contexts = [
        container.security_context
        for container in [*pod.spec.init_containers, *pod.spec.containers, *ephemeral_containers(pod)]
    ]
    users = {
        own.run_as_user
        if own.HasField("run_as_user")
        else shared.run_as_user
        if shared.HasField("run_as_user")
        else None
        for own in contexts
    }
    return users.pop() if len(users) == 1 else None


def _mode(
    source: corev1.ConfigMapVolumeSource
    | corev1.SecretVolumeSource
    | corev1.DownwardAPIVolumeSource
    | corev1.ProjectedVolumeSource,
) -> int:
    return source.default_mode if source.HasField("default_mode") else DEFAULT_MODE


def _config_map(
    lookup: Lookup, namespace: str, name: str, items: Iterable[corev1.KeyToPath], mode: int, optional: bool
) -> Files:
    found = find_config_map(lookup, namespace, name, optional=optional)
    if found is None:
        return {}
    data = {**{key: value.encode() for key, value in found.data.items()}, **found.binary_data}
    return _select(data, list(items), mode, optional, "configmap references non-existent config key")


def _secret(
    lookup: Lookup, namespace: str, name: str, items: Iterable[corev1.KeyToPath], mode: int, optional: bool
) -> Files:
    found = find_secret(lookup, namespace, name, optional=optional)
    return (
        {} if found is None else _select(found.data, list(items), mode, optional, "references non-existent secret key")
    )


def _select(data: Mapping[str, bytes], items: list[corev1.KeyToPath], mode: int, optional: bool, refusal: str) -> Files:
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item.key in data:
            files[_safe(item.path)] = File(data[item.key], item.mode if item.HasField("mode") else mode)
        elif not optional:
            raise ConfigError(f"{refusal}: {item.key}")
    return files


def _downward(
    pod: corev1.Pod,
    items: Iterable[corev1.DownwardAPIVolumeFile],
    mode: int,
    node: NodeContext,
) -> Files:
    files: Files = {}
    for item in items:
        if item.HasField("field_ref"):
            text = field_value(pod, item.field_ref.field_path, (), node)
        else:
            wanted = item.resource_field_ref
            text = resource_value(container_named(pod, wanted.container_name), wanted.resource, wanted.divisor, node)
        files[_safe(item.path)] = File(text.encode(), item.mode if item.HasField("mode") else mode)
    return files


def _safe(path: str) -> str:
    """The API server refuses such paths; a node does not rely on it."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ConfigError(f"invalid path {path!r} in volume")
    return path
