"""The keys of WireGuard (Curve25519): ours in a file, others' as their Nodes tell them."""

import base64
import binascii
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

# Where a Node tells its public key, in base64.
ANNOTATION = "navarch.dev/wireguard-public-key"
BYTES = 32


class BadKey(Exception):
    """What is in the file is no key."""


def ensure(path: Path) -> str:
    """The public key to the private one in the file, which is made where there is none. Raises OSError and BadKey."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()).decode()
        _write(path, text)
    if not checked(text):
        raise BadKey(f"{path} holds no WireGuard key; accepted are {BYTES} bytes in base64, as `wg genkey` writes them")
    private = X25519PrivateKey.from_private_bytes(base64.b64decode(text))
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()


def checked(text: str) -> str:
    """The text if it is a key; "" for what is none."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return text if len(decoded) == BYTES and any(decoded) else ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
