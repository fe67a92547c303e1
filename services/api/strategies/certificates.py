"""Requests for certificates, made once, decided by one subresource, answered by another; and whom to trust."""

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.services.api.strategies.hooks import Hooks, Part
from navarch.services.api.validation import certificates, trust_bundles
from navarch.services.api.validation.names import path_segment

Request = certificatesv1.CertificateSigningRequest


def _keep_spec(new: Request, old: Request) -> None:
    new.spec.CopyFrom(old.spec)


def _keep_decision(new: Request, old: Request) -> None:
    """Signers do not have to repeat the decision."""
    for type in (certificates.APPROVED, certificates.DENIED):
        known = [condition for condition in old.status.conditions if condition.type == type]
        said = sum(condition.type == type for condition in new.status.conditions)
        new.status.conditions.extend(known[said:])


def _keep_all_but_conditions(new: Request, old: Request) -> None:
    _keep_spec(new, old)
    conditions = list(new.status.conditions)
    new.status.CopyFrom(old.status)
    new.status.ClearField("conditions")
    new.status.conditions.extend(conditions)


HOOKS = Hooks(
    name_rule=path_segment,
    prepare_update=_keep_spec,
    prepare_status=_keep_decision,
    validate=certificates.validate_request,
    validate_update=certificates.validate_request_update,
    validate_status=certificates.validate_request_status,
    parts={"approval": Part(_keep_all_but_conditions, certificates.validate_approval)},
)
TRUST_BUNDLE = Hooks(
    # Its name follows from its signer, so the rule needs the whole object.
    name_rule=lambda *_: [],
    validate=trust_bundles.validate_bundle,
    validate_update=trust_bundles.validate_bundle_update,
)
