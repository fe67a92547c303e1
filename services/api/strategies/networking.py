"""Ingresses, NetworkPolicies and the addresses of Services."""

from collections.abc import Sequence

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api.defaults import networking as defaults
from navarch.services.api.strategies.hooks import Hooks, spec_changed
from navarch.services.api.validation import addresses, ingress, network_policies
from navarch.services.api.validation.names import canonical_ip


def _warnings(obj: networkingv1.Ingress) -> Sequence[str]:
    if ingress.CLASS_ANNOTATION in obj.metadata.annotations and not obj.spec.HasField("ingress_class_name"):
        return [f"annotation \"{ingress.CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]
    return ()


INGRESS = Hooks(
    generation=spec_changed,
    validate=ingress.validate_ingress,
    validate_update=ingress.validate_ingress_update,
    validate_status=ingress.validate_ingress_status,
    warnings=_warnings,
)
INGRESS_CLASS = Hooks(
    generation=spec_changed,
    default=defaults.default_ingress_class,
    validate=ingress.validate_class,
    validate_update=ingress.validate_class_update,
)
NETWORK_POLICY = Hooks(
    generation=spec_changed,
    default=defaults.default_network_policy,
    validate=network_policies.validate_policy,
    validate_update=lambda new, _: network_policies.validate_policy(new),
)
IP_ADDRESS = Hooks(
    name_rule=canonical_ip,
    validate=addresses.validate_address,
    validate_update=addresses.validate_address_update,
)
SERVICE_CIDR = Hooks(
    validate=addresses.validate_service_cidr,
    validate_update=addresses.validate_service_cidr_update,
)
