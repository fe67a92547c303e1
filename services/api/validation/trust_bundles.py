"""Rules for ClusterTrustBundles: certificates of authorities, each once; those of a signer carry its name."""

import base64
import binascii
import re
from collections.abc import Iterator

from cryptography import x509

from navarch.protos.k8s.certificates import v1beta1_pb2 as certificatesv1beta1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.certificates import validate_signer_name
from navarch.services.api.validation.values import Errors, check, immutable

Bundle = certificatesv1beta1.ClusterTrustBundle

_PATH = "spec.trustBundle"
_MAX_BYTES = 1024 * 1024
# What lies between the blocks is not looked at, as in Kubernetes.
_BLOCK = re.compile(r"^-----BEGIN (.+?)-----[ \t]*\r?\n(.*?)^-----END \1-----[ \t]*\r?$", re.MULTILINE | re.DOTALL)


def validate_bundle(bundle: Bundle) -> Errors:
    """Check a new bundle, its name included: that follows from its signer."""
    yield from _validate_names(bundle)
    yield from _validate_anchors(bundle.spec.trust_bundle)


def validate_bundle_update(new: Bundle, old: Bundle) -> Errors:
    """Check a changed bundle. Certificates that stay are not looked at again, so that newer rules lock nobody out."""
    yield from _validate_names(new)
    if new.spec.trust_bundle != old.spec.trust_bundle:
        yield from _validate_anchors(new.spec.trust_bundle)
    yield from immutable("spec.signerName", new.spec.signer_name, old.spec.signer_name)


def _validate_names(bundle: Bundle) -> Errors:
    name, signer = bundle.metadata.name, bundle.spec.signer_name
    yield from check("metadata.name", name, _wrong_name(name, signer))
    if signer:
        yield from validate_signer_name(signer, "spec.signerName")


def _wrong_name(name: str, signer: str) -> list[str]:
    if not signer:
        if ":" in name:
            return ['ClusterTrustBundle without signer name must not have ":" in its name']
        return list(names.dns_subdomain(name))
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return [f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"]
    return list(names.dns_subdomain(name.removeprefix(prefix)))


def _validate_anchors(text: str) -> Errors:
    size = len(text.encode())
    if size > _MAX_BYTES:
        yield FieldError.too_long(_PATH, f"<value omitted, len {size}>", _MAX_BYTES)
        return
    found: dict[bytes, list[int]] = {}
    wrong = False
    for index, (type, body) in enumerate(_blocks(text)):
        content, problem = _anchor(type, body)
        if problem:
            wrong = True
            yield FieldError.invalid(_PATH, "<value omitted>", f"entry {index} {problem}")
        found.setdefault(content, []).append(index)
    if wrong:
        return
    if not found:
        yield FieldError.invalid(_PATH, "<value omitted>", "at least one trust anchor must be provided")
    for indices in found.values():
        if len(indices) > 1:
            listed = " ".join(map(str, indices))
            yield FieldError.invalid(_PATH, "<value omitted>", f"duplicate trust anchor (indices [{listed}])")


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    for match in _BLOCK.finditer(text):
        yield match.group(1), match.group(2)


def _anchor(type: str, body: str) -> tuple[bytes, str]:
    """The certificate in a block, or what is wrong with it."""
    if type != "CERTIFICATE":
        return b"", f"has bad block type: {type}"
    if ":" in body:
        return b"", "has PEM block headers"
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
        certificate = x509.load_der_x509_certificate(content)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (binascii.Error, ValueError):
        return b"", "does not parse as X.509"
    except x509.ExtensionNotFound:
        return content, "does not have the CA bit set"
    return content, "" if constraints.ca else "does not have the CA bit set"
