"""Namespaces, Nodes, configuration, endpoints, leases and events."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.defaults import cluster as defaults
from navarch.services.api.equality import same
from navarch.services.api.strategies.hooks import Hooks
from navarch.services.api.validation import cluster, config, endpoints, events, names

_KUBERNETES = "kubernetes"
_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def _prepare_namespace(namespace: corev1.Namespace) -> None:
    """A Namespace goes only when its content has gone; its finalizer in spec stands for that."""
    namespace.status.phase = "Active"
    if _KUBERNETES not in namespace.spec.finalizers:
        namespace.spec.finalizers.append(_KUBERNETES)


def _keep_namespace_finalizers(new: corev1.Namespace, old: corev1.Namespace) -> None:
    new.spec.ClearField("finalizers")
    new.spec.finalizers.extend(old.spec.finalizers)


def _slice_changed(new: discoveryv1.EndpointSlice, old: discoveryv1.EndpointSlice) -> bool:
    """Anything but metadata, labels included: they say which Service the slice belongs to."""
    if new.metadata.labels != old.metadata.labels:
        return True
    left, right = discoveryv1.EndpointSlice(), discoveryv1.EndpointSlice()
    for copy, original in ((left, new), (right, old)):
        copy.CopyFrom(original)
        copy.ClearField("metadata")
    return not same(left, right)


def _keep_secret_names(account: corev1.ServiceAccount) -> None:
    """An account names secrets of its own namespace, and nothing else about them."""
    names_of_secrets = [secret.name for secret in account.secrets]
    account.ClearField("secrets")
    for name in names_of_secrets:
        account.secrets.add(name=name)


def _service_account_warnings(account: corev1.ServiceAccount) -> Sequence[str]:
    if _MOUNTABLE not in account.metadata.annotations:
        return ()
    text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return [f"metadata.annotations[{_MOUNTABLE}]: {text}"]


NAMESPACE = Hooks(
    name_rule=names.dns_label,
    default=defaults.default_namespace,
    prepare_create=_prepare_namespace,
    prepare_update=_keep_namespace_finalizers,
    validate=cluster.validate_namespace,
    validate_status=cluster.validate_namespace_status,
)
NODE = Hooks(
    keeps_status_on_create=True,
    default=defaults.default_node,
    validate=cluster.validate_node,
    validate_update=cluster.validate_node_update,
    validate_status=cluster.validate_node_status,
)
CONFIG_MAP = Hooks(validate=config.validate_config_map, validate_update=config.validate_config_map_update)
SECRET = Hooks(
    default=defaults.default_secret,
    validate=config.validate_secret,
    validate_update=config.validate_secret_update,
)
ENDPOINTS = Hooks(
    default=defaults.default_endpoints,
    validate=endpoints.validate_endpoints,
    validate_update=lambda new, _: endpoints.validate_endpoints(new),
)
ENDPOINT_SLICE = Hooks(
    generation=_slice_changed,
    default=defaults.default_endpoint_slice,
    validate=endpoints.validate_endpoint_slice,
    validate_update=endpoints.validate_endpoint_slice_update,
)
# Without a version two candidates could both believe that they hold it.
LEASE = Hooks(
    needs_version=True,
    validate=cluster.validate_lease,
    validate_update=lambda new, _: cluster.validate_lease(new),
)
EVENT = Hooks(validate=cluster.validate_event, validate_update=lambda new, _: cluster.validate_event(new))
NEW_EVENT = Hooks(validate=events.validate_event, validate_update=events.validate_event_update)
SERVICE_ACCOUNT = Hooks(
    prepare_create=_keep_secret_names,
    prepare_update=lambda new, _: _keep_secret_names(new),
    warnings=_service_account_warnings,
)
