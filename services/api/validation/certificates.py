"""Rules for requests for certificates: a request that is signed by its own key, and a decision made only once."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.field_errors import quoted
from navarch.services.api.validation import names
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.values import Errors

Request = certificatesv1.CertificateSigningRequest
Condition = certificatesv1.CertificateSigningRequestCondition

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_CONDITIONS = "status.conditions"
_EXPIRATION_MIN_S = 600
_SIGNER_NAME_MAX = 571


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an update may change beside metadata."""

    approval: bool = False
    certificate: bool = False


def validate_request(request: Request) -> Errors:
    """Check a new request (its metadata aside)."""
    spec = request.spec
    yield from _validate_pem(spec.request)
    if not spec.usages:
        yield FieldError.required("spec.usages")
    yield from validate_enums(spec, "spec")
    for index, usage in enumerate(spec.usages):
        if usage in spec.usages[:index]:
            yield FieldError.duplicate(f"spec.usages[{index}]", usage)
    if spec.signer_name == LEGACY_SIGNER:
        text = "the legacy signerName is not allowed via this API version"
        yield FieldError.invalid("spec.signerName", spec.signer_name, text)
    else:
        yield from validate_signer_name(spec.signer_name, "spec.signerName")
    if spec.HasField("expiration_seconds") and spec.expiration_seconds < _EXPIRATION_MIN_S:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        yield FieldError.invalid("spec.expirationSeconds", spec.expiration_seconds, text)


def _validate_pem(pem: bytes) -> Errors:
    path, shown = "spec.request", list(pem[:16])
    if not pem.lstrip().startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
        yield FieldError.invalid(path, shown, "PEM block type must be CERTIFICATE REQUEST")
        return
    try:
        if not x509.load_pem_x509_csr(pem).is_signature_valid:
            yield FieldError.invalid(path, shown, "x509: the signature of the request does not match its key")
    except (ValueError, UnsupportedAlgorithm) as error:
        yield FieldError.invalid(path, shown, f"x509: malformed certificate request: {error}")


def validate_signer_name(name: str, path: str) -> Errors:
    """Check the name of a signer: a domain and a path."""
    if not name:
        yield FieldError.required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield FieldError.invalid(path, name, text)
        return
    if len(domain) > names.SUBDOMAIN_MAX:
        yield FieldError.too_long(path, domain, names.SUBDOMAIN_MAX)
    labels = domain.split(".")
    yield from _validate_labels(labels, names.dns_label, domain, path)
    if len(labels) < 2:
        yield FieldError.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    yield from _validate_labels(rest.split("."), names.dns_subdomain, rest, path)
    if len(name) > _SIGNER_NAME_MAX:
        yield FieldError.too_long(path, name, _SIGNER_NAME_MAX)


def _validate_labels(labels: Sequence[str], rule: names.NameRule, shown: str, path: str) -> Errors:
    for label in labels:
        if wrong := rule(label, False):
            for reason in wrong:
                yield FieldError.invalid(path, shown, f"validating label {quoted(label)}: {reason}")
            return


def validate_request_update(new: Request, old: Request) -> Errors:
    """Check a changed request: neither what is asked nor what was decided changes this way."""
    return _validate_change(new, old, Allowed())


def validate_approval(new: Request, old: Request) -> Errors:
    """Check a decision."""
    return _validate_change(new, old, Allowed(approval=True))


def validate_request_status(new: Request, old: Request) -> Errors:
    """Check what a signer reports: the certificate, or that it failed."""
    return _validate_change(new, old, Allowed(certificate=True))


def _validate_change(new: Request, old: Request, allowed: Allowed) -> Errors:
    yield from _validate_conditions(new.status.conditions, old.status.conditions)
    for type in (APPROVED, DENIED, FAILED):
        now, before = _of_type(new, type), _of_type(old, type)
        if len(now) < len(before):
            yield FieldError.forbidden(_CONDITIONS, f'updates may not remove a condition of type "{type}"')
        elif type == FAILED or allowed.approval:
            continue
        elif len(now) > len(before):
            yield FieldError.forbidden(_CONDITIONS, f'updates may not add a condition of type "{type}"')
        elif not all(map(same, now, before)):
            yield FieldError.forbidden(_CONDITIONS, f'updates may not modify a condition of type "{type}"')
    if new.status.certificate == old.status.certificate:
        return
    if not allowed.certificate:
        yield FieldError.forbidden("status.certificate", "updates may not set certificate content")
    elif old.status.certificate:
        yield FieldError.forbidden("status.certificate", "updates may not modify existing certificate content")
    else:
        yield from _validate_certificate(new.status.certificate)


def _of_type(request: Request, type: str) -> list[Condition]:
    return [condition for condition in request.status.conditions if condition.type == type]


def _validate_conditions(conditions: Sequence[Condition], before: Sequence[Condition]) -> Errors:
    seen: set[str] = set()
    decided_both = {APPROVED, DENIED} <= {condition.type for condition in before}
    for index, condition in enumerate(conditions):
        here = f"{_CONDITIONS}[{index}]"
        if not condition.type:
            yield FieldError.required(f"{here}.type")
        final = condition.type in (APPROVED, DENIED, FAILED)
        accepted = ["True"] if final else ["True", "False", "Unknown"]
        if not condition.status:
            yield FieldError.required(f"{here}.status")
        elif condition.status not in accepted:
            yield FieldError.not_supported(f"{here}.status", condition.status, accepted)
        other = {APPROVED: DENIED, DENIED: APPROVED}.get(condition.type)
        if other in seen and not decided_both:
            text = "Approved and Denied conditions are mutually exclusive"
            yield FieldError.invalid(f"{here}.type", condition.type, text)
        if condition.type in seen:
            yield FieldError.duplicate(f"{here}.type", condition.type)
        seen.add(condition.type)


def _validate_certificate(pem: bytes) -> Errors:
    path, hidden = "status.certificate", "<certificate data>"
    types = [line[11:-5].decode("ascii", "replace") for line in pem.splitlines() if line.startswith(b"-----BEGIN ")]
    wrong = next((type for type in types if type != "CERTIFICATE"), None)
    if wrong is not None:
        text = f"only CERTIFICATE PEM blocks are allowed, found {quoted(wrong)}"
        yield FieldError.invalid(path, hidden, text)
    elif not types:
        yield FieldError.invalid(path, hidden, "must contain at least one CERTIFICATE PEM block")
    else:
        try:
            x509.load_pem_x509_certificates(pem)
        except ValueError as error:
            yield FieldError.invalid(path, hidden, f"x509: malformed certificate: {error}")
