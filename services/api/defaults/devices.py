"""Defaults of claims to devices."""

from collections.abc import Iterable

from navarch.protos.k8s.resource import v1_pb2 as resourcev1
from navarch.services.api.defaults.fill import fill

EXACT = "ExactCount"


def default_claim(claim: resourcev1.ResourceClaim) -> None:
    """Complete a ResourceClaim."""
    _default_claim_spec(claim.spec)
    for result in claim.status.allocation.devices.results:
        _default_tolerations(result.tolerations)


def default_claim_template(template: resourcev1.ResourceClaimTemplate) -> None:
    """Complete a ResourceClaimTemplate."""
    _default_claim_spec(template.spec.spec)


def _default_claim_spec(spec: resourcev1.ResourceClaimSpec) -> None:
    for request in spec.devices.requests:
        if request.HasField("exactly"):
            _default_request(request.exactly)
        for alternative in request.first_available:
            _default_request(alternative)


def _default_request(request: resourcev1.ExactDeviceRequest | resourcev1.DeviceSubRequest) -> None:
    fill(request, allocation_mode=EXACT)
    if request.allocation_mode == EXACT:
        fill(request, count=1)
    _default_tolerations(request.tolerations)


def _default_tolerations(tolerations: Iterable[resourcev1.DeviceToleration]) -> None:
    for toleration in tolerations:
        fill(toleration, operator="Equal")
