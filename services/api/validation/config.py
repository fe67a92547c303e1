"""Rules for ConfigMaps and Secrets: keys that can be file names, a size the store can carry, immutability."""

from collections.abc import Mapping

import orjson

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check

MAX_BYTES = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"
_SERVICE_ACCOUNT = "kubernetes.io/service-account.name"


def validate_config_map(config_map: corev1.ConfigMap) -> Errors:
    """Check a ConfigMap (its metadata aside)."""
    yield from _validate_keys(config_map.data, "data")
    for key in sorted(set(config_map.data) & set(config_map.binary_data)):
        yield FieldError.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    yield from _validate_keys(config_map.binary_data, "binaryData")
    size = sum(len(value.encode()) for value in config_map.data.values())
    if size + sum(map(len, config_map.binary_data.values())) > MAX_BYTES:
        yield FieldError.too_long("[]", "", MAX_BYTES)


def validate_config_map_update(new: corev1.ConfigMap, old: corev1.ConfigMap) -> Errors:
    """Check a changed ConfigMap."""
    if old.immutable:
        if not new.immutable:
            yield FieldError.forbidden("immutable", _FROZEN)
        for field, changed in (("data", new.data != old.data), ("binaryData", new.binary_data != old.binary_data)):
            if changed:
                yield FieldError.forbidden(field, _FROZEN)
    yield from validate_config_map(new)


def validate_secret(secret: corev1.Secret) -> Errors:
    """Check a Secret (its metadata aside): what its type promises must be there."""
    yield from _validate_keys(secret.data, "data")
    if sum(map(len, secret.data.values())) > MAX_BYTES:
        yield FieldError.too_long("data", "", MAX_BYTES)
    match secret.type:
        case "kubernetes.io/service-account-token":
            if not secret.metadata.annotations.get(_SERVICE_ACCOUNT):
                yield FieldError.required(f"metadata.annotations[{_SERVICE_ACCOUNT}]")
        case "kubernetes.io/dockercfg":
            yield from _validate_json(secret, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            yield from _validate_json(secret, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in secret.data and "password" not in secret.data:
                yield FieldError.required("data[username]")
                yield FieldError.required("data[password]")
        case "kubernetes.io/ssh-auth":
            if not secret.data.get("ssh-privatekey"):
                yield FieldError.required("data[ssh-privatekey]")
        case "kubernetes.io/tls":
            for key in ("tls.crt", "tls.key"):
                if key not in secret.data:
                    yield FieldError.required(f"data[{key}]")


def validate_secret_update(new: corev1.Secret, old: corev1.Secret) -> Errors:
    """Check a changed Secret."""
    if new.type != old.type:
        yield FieldError.invalid("type", new.type, names.IMMUTABLE)
    if old.immutable:
        if not new.immutable:
            yield FieldError.forbidden("immutable", _FROZEN)
        if new.data != old.data:
            yield FieldError.forbidden("data", _FROZEN)
    yield from validate_secret(new)


def _validate_keys(data: Mapping[str, object], path: str) -> Errors:
    for key in sorted(data):
        yield from check(f"{path}[{key}]", key, names.config_key(key))


def _validate_json(secret: corev1.Secret, key: str) -> Errors:
    if key not in secret.data:
        yield FieldError.required(f"data[{key}]")
        return
    try:
        orjson.loads(secret.data[key])
    except orjson.JSONDecodeError as error:
        # The parser's message may quote what it read.
        yield FieldError.invalid(f"data[{key}]", _REDACTED, f"not JSON (line {error.lineno}, column {error.colno})")
