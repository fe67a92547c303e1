"""Rules for what Services get their addresses from: ServiceCIDRs, and the IPAddresses taken out of them."""

from ipaddress import ip_interface

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, immutable, optional, required_segment

_CIDRS = "spec.cidrs"


def validate_address(address: networkingv1.IPAddress) -> Errors:
    """Check an IPAddress (its metadata aside): it belongs to somebody."""
    path = "spec.parentRef"
    if not address.spec.HasField("parent_ref"):
        yield FieldError.required(path)
        return
    parent = address.spec.parent_ref
    if parent.group:
        yield from check(f"{path}.group", parent.group, names.dns_subdomain(parent.group))
    yield from required_segment(f"{path}.resource", parent.resource)
    yield from required_segment(f"{path}.name", parent.name)
    if parent.namespace:
        yield from check(f"{path}.namespace", parent.namespace, names.path_segment(parent.namespace))


def validate_address_update(new: networkingv1.IPAddress, old: networkingv1.IPAddress) -> Errors:
    """Check that an IPAddress stays with its owner."""
    yield from immutable("spec.parentRef", optional(new.spec, "parent_ref"), optional(old.spec, "parent_ref"))


def validate_service_cidr(service_cidr: networkingv1.ServiceCIDR) -> Errors:
    """Check a ServiceCIDR (its metadata aside): one block, or one for each family."""
    blocks = list(service_cidr.spec.cidrs)
    if not blocks:
        yield FieldError.required(_CIDRS, "at least one CIDR required")
        return
    if len(blocks) > 2:
        yield FieldError.invalid(_CIDRS, {"cidrs": blocks}, "may only hold up to 2 values")
        return
    wrong = [names.canonical_cidr(block) for block in blocks]
    for index, block in enumerate(blocks):
        yield from check(f"{_CIDRS}[{index}]", block, wrong[index])
    versions = {ip_interface(block).version for block in blocks if not names.cidr(block)}
    if len(blocks) == 2 and len(versions) == 1 and not any(map(names.cidr, blocks)):
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        yield FieldError.invalid(_CIDRS, blocks, text)


def validate_service_cidr_update(new: networkingv1.ServiceCIDR, old: networkingv1.ServiceCIDR) -> Errors:
    """Check a changed ServiceCIDR: a block of the other family may be added, nothing else."""
    blocks, known = list(new.spec.cidrs), list(old.spec.cidrs)
    if (len(known), len(blocks)) == (1, 2):
        yield from validate_service_cidr(new)
    elif len(known) != len(blocks):
        yield FieldError.invalid(_CIDRS, blocks, names.IMMUTABLE)
    for index, (block, before) in enumerate(zip(blocks, known, strict=False)):
        if len(known) <= len(blocks) and block != before:
            yield FieldError.invalid(f"{_CIDRS}[{index}]", block, names.IMMUTABLE)
