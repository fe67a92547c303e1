"""The downward API: fields of the Pod and resources of its containers as text."""

import re

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import Quantity
from navarch.services.kubelet.core.references import ConfigError, NodeContext

SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


def field_value(pod: corev1.Pod, path: str, pod_ips: tuple[str, ...], node: NodeContext) -> str:
    """A `fieldRef`. Raises ConfigError for a path that is no field."""
    if match := SUBSCRIPT.match(path):
        mapping = pod.metadata.labels if match[1] == "labels" else pod.metadata.annotations
        return mapping.get(match[2], "")
    plain = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "metadata.labels": _lines(dict(pod.metadata.labels)),
        "metadata.annotations": _lines(dict(pod.metadata.annotations)),
        "spec.nodeName": node.name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.hostIP": node.host_ips[0] if node.host_ips else "",
        "status.hostIPs": ",".join(node.host_ips),
        "status.podIP": pod_ips[0] if pod_ips else "",
        "status.podIPs": ",".join(pod_ips),
    }
    if path not in plain:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return plain[path]


def _lines(mapping: dict[str, str]) -> str:
    return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(mapping.items()))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(
    container: corev1.Container, resource: str, divisor: quantity_pb2.Quantity, node: NodeContext
) -> str:
    """A `resourceFieldRef`: in units of the divisor, rounded up. A limit that is not set is the node's."""
    which, _, name = resource.partition(".")
    held = container.resources.limits if which == "limits" else container.resources.requests
    if which not in ("limits", "requests"):
        raise ConfigError(f"unsupported container resource : {resource}")
    capacity = {
        "cpu": f"{node.cpu_millicores}m",
        "memory": str(node.memory_bytes),
        "ephemeral-storage": str(node.ephemeral_storage_bytes),
    }
    text = held[name].string if name in held else (capacity.get(name, "0") if which == "limits" else "0")
    amount = Quantity.parse(text)
    unit = Quantity.parse(divisor.string) if divisor.string not in ("", "0") else Quantity.parse("1")
    if name == "cpu":
        return str(-(-amount.milli_value() // unit.milli_value()))
    return str(-(-amount.value() // unit.value()))


def container_named(pod: corev1.Pod, name: str) -> corev1.Container:
    """The container that a `resourceFieldRef` names. Raises ConfigError."""
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        if container.name == name:
            return container
    raise ConfigError(f"container {name} not found")
