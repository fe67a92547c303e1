"""Rules for APIServices: which server answers for a group and version."""

from navarch.protos.k8s.apiregistration import v1_pb2 as apiregistrationv1
from navarch.services.api.errors import FieldError
from navarch.services.api.field_errors import quoted
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, required, supported

_GROUP_PRIORITY_MAX = 20000
_VERSION_PRIORITY_MAX = 1000


def validate_api_service(service: apiregistrationv1.APIService) -> Errors:
    """Check an APIService (its metadata aside, but for the name, which says what it is about)."""
    spec = service.spec
    name = f"{spec.version}.{spec.group}"
    if service.metadata.name != name and not names.path_segment(service.metadata.name):
        text = f'must be `spec.version+"."+spec.group`: {quoted(name)}'
        yield FieldError.invalid("metadata.name", service.metadata.name, text)
    if spec.group:
        yield from check("spec.group", spec.group, names.dns_subdomain(spec.group))
    elif spec.version != "v1":
        text = "only v1 may have an empty group and it better be legacy kube"
        yield FieldError.required("spec.group", text)
    yield from check("spec.version", spec.version, names.dns_1035_label(spec.version))
    for field, value, most in (
        ("groupPriorityMinimum", spec.group_priority_minimum, _GROUP_PRIORITY_MAX),
        ("versionPriority", spec.version_priority, _VERSION_PRIORITY_MAX),
    ):
        if not 0 < value <= most:
            yield FieldError.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
    yield from _validate_server(spec)


def _validate_server(spec: apiregistrationv1.APIServiceSpec) -> Errors:
    bundle, skip = "spec.caBundle", "spec.insecureSkipTLSVerify"
    if not spec.HasField("service"):
        if spec.ca_bundle:
            shown = f"{len(spec.ca_bundle)} bytes"
            yield FieldError.invalid(bundle, shown, "local APIServices may not have a caBundle")
        if spec.insecure_skip_tls_verify:
            yield FieldError.invalid(skip, True, "local APIServices may not have insecureSkipTLSVerify")
        return
    yield from required("spec.service.namespace", spec.service.namespace)
    yield from required("spec.service.name", spec.service.name)
    if wrong := names.port_number(spec.service.port):
        yield FieldError.invalid("spec.service.port", spec.service.port, f"port is not valid: {', '.join(wrong)}")
    if spec.insecure_skip_tls_verify and spec.ca_bundle:
        yield FieldError.invalid(skip, True, "may not be true if caBundle is present")


def validate_api_service_status(new: apiregistrationv1.APIService, _: apiregistrationv1.APIService) -> Errors:
    """Check what is known about a server."""
    for index, condition in enumerate(new.status.conditions):
        here = f"status.conditions[{index}].status"
        yield from supported(here, condition.status, ("True", "False", "Unknown"))
