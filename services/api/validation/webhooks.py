"""Rules for the addresses of webhooks: a URL or a Service, one of the two."""

from typing import Any
from urllib.parse import urlsplit

from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors

_FORM = "; desired format: https://host[/path]"
REVIEW_VERSIONS = ("v1", "v1beta1")


def validate_client(client: Any, path: str) -> Errors:
    """Check where a webhook is. client: the WebhookClientConfig of any group."""
    if client.HasField("url") == client.HasField("service"):
        yield FieldError.required(path, "exactly one of url or service is required")
    elif client.HasField("url"):
        yield from _validate_url(client.url, f"{path}.url")
    else:
        yield from _validate_service(client.service, f"{path}.service")


def _validate_url(url: str, path: str) -> Errors:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield FieldError.required(path, f"url must be a valid URL: {error}{_FORM}")
        return
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme != "https":
        yield FieldError.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not host:
        yield FieldError.invalid(path, host, f"host must be provided{_FORM}")
    if user:
        yield FieldError.invalid(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        yield FieldError.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield FieldError.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _validate_service(service: Any, path: str) -> Errors:
    if not service.name:
        yield FieldError.required(f"{path}.name", "service name is required")
    if not service.namespace:
        yield FieldError.required(f"{path}.namespace", "service namespace is required")
    if wrong := names.port_number(service.port):
        yield FieldError.invalid(f"{path}.port", service.port, f"port is not valid: {', '.join(wrong)}")
    url_path, here = service.path, f"{path}.path"
    if url_path in ("", "/"):
        return
    if not url_path.startswith("/"):
        yield FieldError.invalid(here, url_path, "must start with a '/'")
    for index, segment in enumerate(url_path[1:].removesuffix("/").split("/")):
        if not segment:
            yield FieldError.invalid(here, url_path, f"segment[{index}] may not be empty")
            continue
        for reason in names.dns_subdomain(segment):
            yield FieldError.invalid(here, url_path, f"segment[{index}]: {reason}")


def validate_review_versions(versions: list[str], path: str, missing: str) -> Errors:
    """Check the versions of reviews that a webhook understands, ours among them. missing: what to say of none."""
    if not versions:
        yield FieldError.required(path, missing)
        return
    for index, version in enumerate(versions):
        here = f"{path}[{index}]"
        if version in versions[:index]:
            yield FieldError.invalid(here, version, "duplicate version")
            continue
        for reason in names.dns_1035_label(version):
            yield FieldError.invalid(here, version, reason)
    if not set(versions) & set(REVIEW_VERSIONS):
        yield FieldError.invalid(path, versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}")
