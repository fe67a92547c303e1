"""Defaults of what extends the API: definitions of custom resources, services that serve groups of their own."""

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.protos.k8s.apiregistration import v1_pb2 as apiregistrationv1
from navarch.services.api.defaults.fill import fill

_HTTPS = 443


def default_definition(definition: apiextensionsv1.CustomResourceDefinition) -> None:
    """Complete a CustomResourceDefinition."""
    spec, names = definition.spec, definition.spec.names
    if names.kind:
        fill(names, singular=names.kind.lower(), list_kind=f"{names.kind}List")
    fill(spec.conversion, strategy="None")
    if spec.conversion.webhook.client_config.HasField("service"):
        fill(spec.conversion.webhook.client_config.service, port=_HTTPS)
    if not definition.status.stored_versions:
        add_stored_version(definition)


def add_stored_version(definition: apiextensionsv1.CustomResourceDefinition) -> None:
    """Note that objects may be stored in the version that is for storing."""
    storage = next((version.name for version in definition.spec.versions if version.storage), "")
    if storage and storage not in definition.status.stored_versions:
        definition.status.stored_versions.append(storage)


def default_api_service(service: apiregistrationv1.APIService) -> None:
    """Complete an APIService."""
    if service.spec.HasField("service"):
        fill(service.spec.service, port=_HTTPS)
