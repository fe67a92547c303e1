"""Which families of addresses a Service has: what it asks for, what it had, and what the cluster offers."""

from collections.abc import Sequence
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.services import HEADLESS, family_of, validate_cluster_ips

Spec = corev1.ServiceSpec

OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_POLICY, _FAMILIES = "spec.ipFamilyPolicy", "spec.ipFamilies"


def settle_families(service: Any, old_service: Any | None, offered: Sequence[str]) -> list[FieldError]:
    """Fill in policy and families before addresses are given. Returns what is wrong with what was asked for.

    service: changed in place. offered: the families of the cluster, the one for those who do not ask first. A Service
    keeps the number of its families when the cluster gets a second one, until its owner asks for a change.
    """
    spec, old = service.spec, old_service.spec if old_service is not None else None
    if spec.type == "ExternalName" or (old is not None and _is_settled(spec, old)):
        return []
    is_free = spec.cluster_ip == HEADLESS and not spec.selector
    if not spec.HasField("ip_family_policy"):
        known = old.ip_family_policy if old is not None else ""
        spec.ip_family_policy = known or (REQUIRE if is_free else SINGLE)
    errors = list(validate_cluster_ips(spec))
    if errors:
        return errors
    if old is not None:
        errors += _release(spec, old)
    errors += _check_single(spec)
    errors += _infer(spec, offered)
    if errors:
        return errors
    if not is_free:
        errors = _check_offered(spec, offered)
    if errors:
        return errors
    if not spec.ip_families:
        spec.ip_families.append(offered[0])
    # Where nobody selects endpoints, the cluster needs no second family for there to be two.
    if spec.ip_family_policy != SINGLE and len(spec.ip_families) == 1 and (is_free or len(offered) == 2):
        spec.ip_families.append(OTHER[spec.ip_families[0]])
    return []


def _is_settled(spec: Spec, old: Spec) -> bool:
    """Whether it prefers two families, as before, and its addresses have not changed."""
    return (
        spec.type == old.type
        and spec.ip_family_policy == old.ip_family_policy == PREFER
        and list(spec.cluster_ips) == list(old.cluster_ips)
        and list(spec.ip_families) == list(old.ip_families)
    )


def _release(spec: Spec, old: Spec) -> list[FieldError]:
    """Give up the second family where that is what is meant."""
    errors = []
    for field, word in (("cluster_ips", "cluster IP"), ("ip_families", "IP family")):
        new, before = getattr(spec, field), getattr(old, field)
        if spec.ip_family_policy == SINGLE:
            if list(new) == list(before):
                del new[1:]
        elif new and len(new) < len(before) and new[0] == before[0]:
            text = f"must be 'SingleStack' to release the secondary {word}"
            errors.append(FieldError.invalid(_POLICY, spec.ip_family_policy, text))
    return errors


def _check_single(spec: Spec) -> list[FieldError]:
    if spec.ip_family_policy != SINGLE:
        return []
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    counted = (("cluster IPs", spec.cluster_ips), ("IP families", spec.ip_families))
    return [FieldError.invalid(_POLICY, SINGLE, text.format(word)) for word, found in counted if len(found) == 2]


def _infer(spec: Spec, offered: Sequence[str]) -> list[FieldError]:
    """Families that are not named follow from addresses that are."""
    errors = []
    for index, address in enumerate(spec.cluster_ips):
        if address == HEADLESS:
            break
        if index < len(spec.ip_families):
            continue
        family = family_of(address)
        if family in offered:
            spec.ip_families.append(family)
        else:
            text = f"{family} is not configured on this cluster"
            errors.append(FieldError.invalid(f"spec.clusterIPs[{index}]", list(spec.cluster_ips), text))
    return errors


def _check_offered(spec: Spec, offered: Sequence[str]) -> list[FieldError]:
    errors = []
    if spec.ip_family_policy == REQUIRE and len(offered) < 2:
        errors.append(FieldError.invalid(_POLICY, REQUIRE, "this cluster is not configured for dual-stack services"))
    for index, family in enumerate(spec.ip_families):
        if family not in offered:
            errors.append(FieldError.invalid(f"{_FAMILIES}[{index}]", family, "not configured on this cluster"))
    return errors
