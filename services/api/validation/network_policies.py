"""Rules for NetworkPolicies."""

import ipaddress
from collections.abc import Iterable

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, supported

_TYPES = ("Egress", "Ingress")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def validate_policy(policy: networkingv1.NetworkPolicy) -> Errors:
    """Check a NetworkPolicy (its metadata aside)."""
    spec = policy.spec
    yield from validate_label_selector(spec.pod_selector, "spec.podSelector")
    for index, ingress in enumerate(spec.ingress):
        here = f"spec.ingress[{index}]"
        yield from _validate_ports(ingress.ports, here)
        yield from _validate_peers(ingress.from_peers, f"{here}.from")
    for index, egress in enumerate(spec.egress):
        here = f"spec.egress[{index}]"
        yield from _validate_ports(egress.ports, here)
        yield from _validate_peers(egress.to, f"{here}.to")
    if len(spec.policy_types) > len(_TYPES):
        types = list(spec.policy_types)
        yield FieldError.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, type in enumerate(spec.policy_types):
        yield from supported(f"spec.policyTypes[{index}]", type, _TYPES)


def _validate_ports(ports: Iterable[networkingv1.NetworkPolicyPort], path: str) -> Errors:
    for index, port in enumerate(ports):
        here = f"{path}.ports[{index}]"
        if port.HasField("protocol"):
            yield from supported(f"{here}.protocol", port.protocol, _PROTOCOLS)
        yield from _validate_port(port, here)


def _validate_port(port: networkingv1.NetworkPolicyPort, path: str) -> Errors:
    here, first = f"{path}.endPort", port.port
    if not port.HasField("port"):
        if port.HasField("end_port"):
            yield FieldError.invalid(here, port.end_port, "may not be specified when `port` is not specified")
    elif first.type == 0:
        yield from check(f"{path}.port", first.int_val, names.port_number(first.int_val))
        if port.HasField("end_port"):
            if port.end_port < first.int_val:
                yield FieldError.invalid(here, port.end_port, "must be greater than or equal to `port`")
            yield from check(here, port.end_port, names.port_number(port.end_port))
    else:
        if port.HasField("end_port"):
            yield FieldError.invalid(here, port.end_port, "may not be specified when `port` is non-numeric")
        yield from check(f"{path}.port", first.str_val, names.port_name(first.str_val))


def _validate_peers(peers: Iterable[networkingv1.NetworkPolicyPeer], path: str) -> Errors:
    for index, peer in enumerate(peers):
        here = f"{path}[{index}]"
        said = [field.name for field, _ in peer.ListFields()]
        if peer.HasField("pod_selector"):
            yield from validate_label_selector(peer.pod_selector, f"{here}.podSelector")
        if peer.HasField("namespace_selector"):
            yield from validate_label_selector(peer.namespace_selector, f"{here}.namespaceSelector")
        if peer.HasField("ip_block"):
            yield from _validate_block(peer.ip_block, f"{here}.ipBlock")
        if not said:
            yield FieldError.required(here, "must specify a peer")
        elif len(said) > 1 and "ip_block" in said:
            yield FieldError.forbidden(here, "may not specify both ipBlock and another peer")


def _validate_block(block: networkingv1.IPBlock, path: str) -> Errors:
    if not block.cidr:
        yield FieldError.required(f"{path}.cidr")
        return
    wrong = names.cidr(block.cidr)
    yield from check(f"{path}.cidr", block.cidr, wrong)
    if wrong:
        return
    whole = ipaddress.ip_interface(block.cidr).network
    for index, text in enumerate(block.except_cidrs):
        here = f"{path}.except[{index}]"
        if wrong := names.cidr(text):
            yield from check(here, text, wrong)
            continue
        part = ipaddress.ip_interface(text).network
        if part.version != whole.version or part.prefixlen <= whole.prefixlen or part.network_address not in whole:
            yield FieldError.invalid(here, text, "must be a strict subset of `cidr`")
