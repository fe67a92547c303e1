"""The keys of service account tokens: one signs, several may be accepted, all are published.

A key's id is the SHA-256 of its public half, as Kubernetes computes it, so that tokens and keys can be told
together by either server.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """The public half of a key."""

    id: str
    algorithm: str
    key: PublicKey

    @classmethod
    def of(cls, key: PublicKey) -> "VerificationKey":
        """With the id and the algorithm that belong to a key. Raises ValueError for an unknown curve."""
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        algorithm = "RS256" if isinstance(key, rsa.RSAPublicKey) else _CURVES.get(key.curve.name, "")
        if not algorithm:
            raise ValueError("a service account key has to be RSA, or EC on P-256, P-384 or P-521")
        return cls(digest, algorithm, key)

    def jwk(self) -> dict[str, Any]:
        """As in a JSON Web Key Set."""
        key = self.key
        text = RSAAlgorithm.to_jwk(key) if isinstance(key, rsa.RSAPublicKey) else ECAlgorithm.to_jwk(key)
        fields: dict[str, Any] = json.loads(text)
        fields.pop("key_ops", None)
        return {"use": "sig", "kid": self.id, "alg": self.algorithm, **fields}


class KeyRing:
    """The key that signs (None: this server issues nothing) and all that are accepted."""

    def __init__(self, signing: bytes = b"", others: Sequence[bytes] = ()) -> None:
        """PEM: signing is a private key, others are public or private ones. Raises ValueError."""
        self.signing: PrivateKey | None = _private(signing) if signing else None
        publics = [*([self.signing.public_key()] if self.signing else []), *(_public(pem) for pem in others)]
        keys = [VerificationKey.of(key) for key in publics]
        self.by_id = {key.id: key for key in keys}
        self.signing_key = keys[0] if self.signing is not None else None

    def candidates(self, key_id: str) -> list[VerificationKey]:
        """The keys that a token with this key id ("" for none) may have been signed with."""
        if not key_id:
            return list(self.by_id.values())
        return [self.by_id[key_id]] if key_id in self.by_id else []


def _private(pem: bytes) -> PrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, PrivateKey):
        raise ValueError("a service account key has to be RSA or EC")
    return key


def _public(pem: bytes) -> PublicKey:
    if b"PRIVATE KEY" in pem:
        return _private(pem).public_key()
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, PublicKey):
        raise ValueError("a service account key has to be RSA or EC")
    return key
