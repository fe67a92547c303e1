"""The files of the volumes that are made from objects: configMap, secret, downwardAPI, projected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.downward import container_named, field_value, resource_value
from navarch.services.kubelet.core.references import ConfigError, Lookup, NodeContext, find_config_map, find_secret

DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume."""

    content: bytes
    mode: int


Files = dict[str, File]


def volume_files(
    pod: corev1.Pod, source: corev1.VolumeSource, lookup: Lookup, node: NodeContext, pod_ips: tuple[str, ...]
) -> Files:
    """Path to file, for one volume. Raises ConfigError for what is missing and not optional."""
    namespace = pod.metadata.namespace
    if source.HasField("config_map"):
        config = source.config_map
        name, mode = config.local_object_reference.name, _mode(config)
        return _config_map(lookup, namespace, name, config.items, mode, config.optional)
    if source.HasField("secret"):
        secret = source.secret
        return _secret(lookup, namespace, secret.secret_name, secret.items, _mode(secret), secret.optional)
    if source.HasField("downward_api"):
        return _downward(pod, source.downward_api.items, _mode(source.downward_api), node, pod_ips)
    files: Files = {}
    mode = _mode(source.projected)
    for projection in source.projected.sources:
        if projection.HasField("config_map"):
            part = projection.config_map
            name = part.local_object_reference.name
            files.update(_config_map(lookup, namespace, name, part.items, mode, part.optional))
        elif projection.HasField("secret"):
            hidden = projection.secret
            name = hidden.local_object_reference.name
            files.update(_secret(lookup, namespace, name, hidden.items, mode, hidden.optional))
        elif projection.HasField("downward_api"):
            files.update(_downward(pod, projection.downward_api.items, mode, node, pod_ips))
        else:
            raise ConfigError("this kind of projected volume source is not supported")
    return files


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
    return _select(data, list(items), mode, optional, "config")


def _secret(
    lookup: Lookup, namespace: str, name: str, items: Iterable[corev1.KeyToPath], mode: int, optional: bool
) -> Files:
    found = find_secret(lookup, namespace, name, optional=optional)
    return {} if found is None else _select(found.data, list(items), mode, optional, "secret")


def _select(data: Mapping[str, bytes], items: list[corev1.KeyToPath], mode: int, optional: bool, what: str) -> Files:
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files: Files = {}
    for item in items:
        if item.key in data:
            files[_safe(item.path)] = File(data[item.key], item.mode if item.HasField("mode") else mode)
        elif not optional:
            raise ConfigError(f"references non-existent {what} key: {item.key}")
    return files


def _downward(
    pod: corev1.Pod,
    items: Iterable[corev1.DownwardAPIVolumeFile],
    mode: int,
    node: NodeContext,
    pod_ips: tuple[str, ...],
) -> Files:
    files: Files = {}
    for item in items:
        if item.HasField("field_ref"):
            text = field_value(pod, item.field_ref.field_path, pod_ips, node)
        else:
            wanted = item.resource_field_ref
            text = resource_value(container_named(pod, wanted.container_name), wanted.resource, wanted.divisor, node)
        files[_safe(item.path)] = File(text.encode(), item.mode if item.HasField("mode") else mode)
    return files


def _safe(path: str) -> str:
    """The API server refuses such paths; a node does not rely on it."""
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigError(f"invalid path {path!r} in volume")
    return path
