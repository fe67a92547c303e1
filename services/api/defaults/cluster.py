"""Defaults of Namespaces, Nodes, Secrets, ConfigMaps and endpoints."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.resources import canonical

METADATA_NAME_LABEL = "kubernetes.io/metadata.name"


def default_namespace(namespace: corev1.Namespace) -> None:
    """Complete a Namespace: its name is also a label, so that selectors can pick it."""
    if namespace.metadata.name:
        namespace.metadata.labels[METADATA_NAME_LABEL] = namespace.metadata.name
    fill(namespace.status, phase="Active")


def default_node(node: corev1.Node) -> None:
    """Complete a Node: all of its capacity can be allocated unless it says otherwise."""
    status = node.status
    if not status.allocatable:
        for name, quantity in status.capacity.items():
            status.allocatable[name].CopyFrom(quantity)
    _align_pod_cidrs(node.spec)
    canonical(status.capacity)
    canonical(status.allocatable)


def _align_pod_cidrs(spec: corev1.NodeSpec) -> None:
    """The older field holds the first block of the newer one."""
    if spec.pod_cidr and not spec.pod_cidrs:
        spec.pod_cidrs.append(spec.pod_cidr)
    elif spec.pod_cidrs:
        spec.pod_cidr = spec.pod_cidrs[0]


def default_secret(secret: corev1.Secret) -> None:
    """Complete a Secret; text given in stringData is for writing only and ends up in data."""
    for key, text in secret.string_data.items():
        secret.data[key] = text.encode()
    secret.ClearField("string_data")
    fill(secret, type="Opaque")


def default_endpoints(endpoints: corev1.Endpoints) -> None:
    """Complete an Endpoints object."""
    for subset in endpoints.subsets:
        for port in subset.ports:
            fill(port, protocol="TCP")


def default_endpoint_slice(endpoint_slice: discoveryv1.EndpointSlice) -> None:
    """Complete an EndpointSlice."""
    for port in endpoint_slice.ports:
        fill(port, name="", protocol="TCP")
