"""The environment of a container.

Later sources win: Service variables, then `envFrom` in order, then `env` in order. `$(NAME)` in values,
command and args becomes the value of a variable known by then; `$$` is a dollar sign; what is not known
stays as it is written.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.downward import container_named, field_value, resource_value
from navarch.services.kubelet.core.env_file import value_of
from navarch.services.kubelet.core.references import ConfigError, Lookup, NodeContext, find_config_map, find_secret

REFERENCE = re.compile(r"\$\$|\$\(([^()$]+)\)")
# Reads a file of a volume, by the names of both; None for one that is not there. Raises ConfigError.
ReadFile = Callable[[str, str], str | None]


def no_files(volume: str, path: str) -> str | None:
    """Of Pods without volumes."""
    return None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace references to variables."""

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else variables.get(name, match[0])

    return REFERENCE.sub(replacement, text)


def environment(
    pod: corev1.Pod,
    container: corev1.Container,
    lookup: Lookup,
    node: NodeContext,
    pod_ips: tuple[str, ...],
    read_file: ReadFile = no_files,
) -> dict[str, str]:
    """All variables of a container. Raises ConfigError for a missing reference. read_file: of the Pod's volumes."""
    services = service_variables(pod, lookup.services(), node)
    own: dict[str, str] = {}
    for source in container.env_from:
        own.update(_env_from(pod, source, lookup))
    for env in container.env:
        if env.HasField("value_from"):
            if env.value_from.HasField("file_key_ref"):
                value = _from_file(env.value_from.file_key_ref, read_file)
            else:
                value = _value_from(pod, container, env, lookup, node, pod_ips)
            if value is not None:
                own[env.name] = value
        else:
            own[env.name] = expand(env.value, {**services, **own})
    return {**own, **{name: value for name, value in services.items() if name not in own}}


def _env_from(pod: corev1.Pod, source: corev1.EnvFromSource, lookup: Lookup) -> dict[str, str]:
    namespace = pod.metadata.namespace
    if source.HasField("config_map_ref"):
        reference = source.config_map_ref
        config_map = find_config_map(
            lookup, namespace, reference.local_object_reference.name, optional=reference.optional
        )
        data = dict(config_map.data) if config_map else {}
    else:
        secret_reference = source.secret_ref
        secret = find_secret(
            lookup, namespace, secret_reference.local_object_reference.name, optional=secret_reference.optional
        )
        data = {key: value.decode(errors="replace") for key, value in secret.data.items()} if secret else {}
    return {f"{source.prefix}{key}": value for key, value in sorted(data.items())}


def _value_from(
    pod: corev1.Pod,
    container: corev1.Container,
    env: corev1.EnvVar,
    lookup: Lookup,
    node: NodeContext,
    pod_ips: tuple[str, ...],
) -> str | None:
    source, namespace = env.value_from, pod.metadata.namespace
    if source.HasField("field_ref"):
        return field_value(pod, source.field_ref.field_path, pod_ips, node)
    if source.HasField("resource_field_ref"):
        wanted = source.resource_field_ref
        named = container_named(pod, wanted.container_name) if wanted.container_name else container
        return resource_value(named, wanted.resource, wanted.divisor, node)
    if source.HasField("config_map_key_ref"):
        reference = source.config_map_key_ref
        name = reference.local_object_reference.name
        config_map = find_config_map(lookup, namespace, name, optional=reference.optional)
        if config_map is not None and reference.key in config_map.data:
            return config_map.data[reference.key]
        if reference.optional:
            return None
        raise ConfigError(f"couldn't find key {reference.key} in ConfigMap {namespace}/{name}")
    if source.HasField("secret_key_ref"):
        secret_reference = source.secret_key_ref
        name = secret_reference.local_object_reference.name
        secret = find_secret(lookup, namespace, name, optional=secret_reference.optional)
        if secret is not None and secret_reference.key in secret.data:
            return secret.data[secret_reference.key].decode(errors="replace")
        if secret_reference.optional:
            return None
        raise ConfigError(f"couldn't find key {secret_reference.key} in Secret {namespace}/{name}")
    raise ConfigError(f"environment variable {env.name}: this kind of valueFrom is not supported")


def _from_file(reference: corev1.FileKeySelector, read_file: ReadFile) -> str | None:
    text = read_file(reference.volume_name, reference.path)
    value = value_of(text, reference.key) if text is not None else None
    if value is None and not reference.optional:
        raise ConfigError(f'environment variable key "{reference.key}" not found in file "{reference.path}"')
    return value


def service_variables(pod: corev1.Pod, services: Sequence[corev1.Service], node: NodeContext) -> dict[str, str]:
    """Variables of the Services of the Pod's namespace, and always of the API server's."""
    links = not pod.spec.HasField("enable_service_links") or pod.spec.enable_service_links
    chosen: dict[str, corev1.Service] = {}
    for service in services:
        if service.spec.cluster_ip in ("", "None"):
            continue
        namespace, name = service.metadata.namespace, service.metadata.name
        if (links and namespace == pod.metadata.namespace) or (
            (namespace, name) == ("default", "kubernetes") and name not in chosen
        ):
            chosen[name] = service
    variables: dict[str, str] = {}
    if "kubernetes" not in chosen and node.api_host:
        variables = {"KUBERNETES_SERVICE_HOST": node.api_host, "KUBERNETES_SERVICE_PORT": node.api_port}
    for _, service in sorted(chosen.items()):
        variables.update(_variables_of(service))
    return variables


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _variables_of(service: corev1.Service) -> dict[str, str]:
    prefix, ip = _upper(service.metadata.name), service.spec.cluster_ip
    host = f"[{ip}]" if ":" in ip else ip
    if not service.spec.ports:
        return {}
    first = service.spec.ports[0]
    variables = {f"{prefix}_SERVICE_HOST": ip, f"{prefix}_SERVICE_PORT": str(first.port)}
    for port in service.spec.ports:
        if port.name:
            variables[f"{prefix}_SERVICE_PORT_{_upper(port.name)}"] = str(port.port)
    variables[f"{prefix}_PORT"] = f"{(first.protocol or 'TCP').lower()}://{host}:{first.port}"
    for port in service.spec.ports:
        protocol = port.protocol or "TCP"
        link = f"{prefix}_PORT_{port.port}_{protocol}"
        variables[link] = f"{protocol.lower()}://{host}:{port.port}"
        variables[f"{link}_PROTO"] = protocol.lower()
        variables[f"{link}_PORT"] = str(port.port)
        variables[f"{link}_ADDR"] = ip
    return variables
