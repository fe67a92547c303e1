"""Rules for projected volumes: several sources in one directory, no two of them in the same file."""

from collections.abc import Callable, Iterator
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.certificates import validate_signer_name
from navarch.services.api.validation.file_paths import (
    validate_downward_files,
    validate_file_path,
    validate_keys_to_paths,
    validate_mode,
)
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, required, shown, supported

_KEY_TYPES = ("ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096")
_MIN_CERTIFICATE_S = 3600
_MAX_CERTIFICATE_S = 91 * 24 * 3600
# Signers of Kubernetes itself issue for a day at most.
_MAX_OWN_CERTIFICATE_S = 24 * 3600
_OWN_SIGNERS = "kubernetes.io"
_CERTIFICATE_PATHS = (
    ("credential_bundle_path", "credentialBundlePath"),
    ("key_path", "keyPath"),
    ("certificate_chain_path", "certificateChainPath"),
)


def validate_projected(source: corev1.ProjectedVolumeSource, path: str) -> Errors:
    """Check a projected volume."""
    yield from validate_mode(source.default_mode, f"{path}.defaultMode")
    taken: set[str] = set()
    for index, projection in enumerate(source.sources):
        here = f"{path}.sources[{index}]"
        present = projection.ListFields()
        for field, part in present:
            yield from _RULES[field.name](part, f"{here}.{field.json_name}")
            for shown_as, file in _files(field.name, part):
                if file in taken:
                    yield FieldError.invalid(path, shown_as, "conflicting duplicate paths")
                taken.add(file)
        if len(present) > 1:
            yield FieldError.forbidden(here, "may not specify more than 1 volume type per source")


def _files(name: str, source: Any) -> Iterator[tuple[str, str]]:
    """The files of one source; each with what a message about it shows."""
    if name in ("secret", "config_map"):
        yield from ((source.local_object_reference.name, item.path) for item in source.items if item.path)
    elif name == "downward_api":
        yield from ((item.path, item.path) for item in source.items if item.path)
    elif name == "cluster_trust_bundle":
        yield source.path, source.path
    elif name == "pod_certificate":
        files = [getattr(source, field) for field, _ in _CERTIFICATE_PATHS]
        yield from ((file, file) for file in files if file)


def _map(source: Any, path: str) -> Errors:
    yield from required(f"{path}.name", source.local_object_reference.name)
    yield from validate_keys_to_paths(source.items, path)


def _downward(source: corev1.DownwardAPIProjection, path: str) -> Errors:
    yield from validate_downward_files(source.items, path)


def _token(source: corev1.ServiceAccountTokenProjection, path: str) -> Errors:
    here, seconds = f"{path}.expirationSeconds", source.expiration_seconds
    if seconds < 10 * 60:
        yield FieldError.invalid(here, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > 2**32:
        yield FieldError.invalid(here, seconds, "may not specify a duration larger than 2^32 seconds")
    # Kubernetes names the path as if it stood in the volume itself.
    yield from validate_file_path(source.path, f"{path.rpartition('.sources[')[0]}.path")


def _trust_bundle(source: corev1.ClusterTrustBundleProjection, path: str) -> Errors:
    by_name, by_signer = source.HasField("name"), source.HasField("signer_name")
    if by_name and by_signer:
        yield FieldError.invalid(path, shown(source), "only one of name and signerName may be used")
    elif by_name:
        if not source.name:
            yield FieldError.required(f"{path}.name", "must be a valid object name")
        signed = source.name.rpartition(":")
        wrong = names.dns_subdomain(signed[2])
        yield from check(f"{path}.name", source.name, (f"not a valid clustertrustbundlename: {text}" for text in wrong))
        if source.HasField("label_selector"):
            text = "labelSelector must be unset if name is specified"
            yield FieldError.invalid(f"{path}.labelSelector", shown(source.label_selector), text)
    elif by_signer:
        if not source.signer_name:
            yield FieldError.required(f"{path}.signerName", "must be a valid signer name")
        yield from validate_signer_name(source.signer_name, f"{path}.signerName")
        yield from validate_label_selector(source.label_selector, f"{path}.labelSelector")
    else:
        yield FieldError.required(path, "either name or signerName must be specified")
    yield from validate_file_path(source.path, f"{path}.path")


def _certificate(source: corev1.PodCertificateProjection, path: str) -> Errors:
    yield from validate_signer_name(source.signer_name, f"{path}.signerName")
    yield from supported(f"{path}.keyType", source.key_type, _KEY_TYPES)
    if source.HasField("max_expiration_seconds"):
        here, seconds = f"{path}.maxExpirationSeconds", source.max_expiration_seconds
        domain = source.signer_name.partition("/")[0]
        own = domain == _OWN_SIGNERS or domain.endswith(f".{_OWN_SIGNERS}")
        most = _MAX_OWN_CERTIFICATE_S if own else _MAX_CERTIFICATE_S
        if seconds < _MIN_CERTIFICATE_S:
            text = f"if provided, maxExpirationSeconds must be >= {_MIN_CERTIFICATE_S}"
            yield FieldError.invalid(here, seconds, text)
        if seconds > most:
            yield FieldError.invalid(here, seconds, f"if provided, maxExpirationSeconds must be <= {most}")
    files = [(field, getattr(source, name)) for name, field in _CERTIFICATE_PATHS if getattr(source, name)]
    for field, file in files:
        yield from validate_file_path(file, f"{path}.{field}")
    if not files:
        text = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        yield FieldError.required(path, text)


_RULES: dict[str, Callable[[Any, str], Errors]] = {
    "secret": _map,
    "config_map": _map,
    "downward_api": _downward,
    "service_account_token": _token,
    "cluster_trust_bundle": _trust_bundle,
    "pod_certificate": _certificate,
}
