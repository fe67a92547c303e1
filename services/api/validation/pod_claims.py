"""Rules for the ResourceClaims of a Pod, and for their use by its containers."""

from collections.abc import Collection, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, required, shown


def validate_pod_claims(claims: Sequence[corev1.PodResourceClaim], path: str) -> Errors:
    """Check which claims a Pod uses: each has a name here, and is either there or made from a template."""
    taken: set[str] = set()
    for index, claim in enumerate(claims):
        here = f"{path}[{index}]"
        if claim.name in taken:
            yield FieldError.duplicate(f"{here}.name", claim.name)
        else:
            yield from required(f"{here}.name", claim.name, names.dns_label)
        taken.add(claim.name)
        by_name, by_template = claim.HasField("resource_claim_name"), claim.HasField("resource_claim_template_name")
        if by_name and by_template:
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield FieldError.invalid(here, shown(claim), text)
        elif not by_name and not by_template:
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield FieldError.invalid(here, shown(claim), text)
        for is_set, field, value in (
            (by_name, "resourceClaimName", claim.resource_claim_name),
            (by_template, "resourceClaimTemplateName", claim.resource_claim_template_name),
        ):
            if is_set:
                yield from check(f"{here}.{field}", value, names.dns_subdomain(value))


def validate_used_claims(used: Sequence[corev1.ResourceClaim], claims: Collection[str], path: str) -> Errors:
    """Check that a container uses claims of its Pod."""
    taken: set[tuple[str, str]] = set()
    for index, claim in enumerate(used):
        here = f"{path}[{index}]"
        if not claim.name:
            yield FieldError.required(here)
            continue
        if (claim.name, claim.request) in taken:
            yield FieldError.duplicate(here, "/".join(filter(None, (claim.name, claim.request))))
        taken.add((claim.name, claim.request))
        if claim.name not in claims:
            known = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            text = f"must be one of the names in pod.spec.resourceClaims{known}"
            yield FieldError("FieldValueNotFound", here, claim.name, text)
