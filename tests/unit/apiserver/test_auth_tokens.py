"""Service account tokens and their keys, without a server."""

import base64
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.apiserver.auth.bootstrap_tokens import user_in
from navarch.services.apiserver.auth.service_account_tokens import (
    Claims,
    ForeignToken,
    InvalidToken,
    Named,
    sign,
    verify,
)
from navarch.services.apiserver.auth.signing_keys import KeyRing
from navarch.services.base.tls import new_key

ISSUER = "https://issuer.test"
NOW = 1_700_000_000
CLAIMS = Claims(
    namespace="default",
    account=Named("robot", "uid-1"),
    audiences=(ISSUER, "other"),
    issued_at=NOW,
    expires_at=NOW + 600,
    id="id-1",
)
RING = KeyRing(new_key())


def pem_of(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem: bytes = key.private_bytes(encoding, form, serialization.NoEncryption())
    return pem


RSA = pem_of(rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(CLAIMS, id="of an account"),
        pytest.param(replace(CLAIMS, pod=Named("web", "uid-2"), node=Named("n1", "uid-3")), id="of a Pod"),
        pytest.param(replace(CLAIMS, pod=Named("web", "uid-2"), node=Named("n1", "")), id="node is gone"),
        pytest.param(replace(CLAIMS, secret=Named("s", "uid-4"), warn_after=NOW + 60), id="of a Secret"),
        pytest.param(replace(CLAIMS, node=Named("n1", "uid-3")), id="of a node"),
    ],
)
@pytest.mark.parametrize("pem", [pytest.param(RSA, id="RSA"), pytest.param(new_key(), id="EC")])
def test_what_is_signed_is_what_is_read(claims: Claims, pem: bytes) -> None:
    ring = KeyRing(pem)
    assert verify(sign(claims, ISSUER, ring), ring, [ISSUER], NOW) == claims


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(NOW + 659, "", id="a little late, by another clock"),
        pytest.param(NOW + 661, "expired", id="late"),
        pytest.param(NOW - 59, "", id="a little early"),
        pytest.param(NOW - 61, "not valid yet", id="early"),
    ],
)
def test_times(now: float, words: str) -> None:
    token = sign(CLAIMS, ISSUER, RING)
    if not words:
        assert verify(token, RING, [ISSUER], now) == CLAIMS
        return
    with pytest.raises(InvalidToken, match=words):
        verify(token, RING, [ISSUER], now)


def test_another_key_or_issuer_is_foreign() -> None:
    token = sign(CLAIMS, ISSUER, RING)
    with pytest.raises(ForeignToken):
        verify(token, KeyRing(new_key()), [ISSUER], NOW)
    with pytest.raises(ForeignToken):
        verify(token, RING, ["https://other.test"], NOW)


def test_keys_can_be_exchanged() -> None:
    old, new = new_key(), new_key()
    token = sign(CLAIMS, ISSUER, KeyRing(old))
    public = KeyRing(old).signing
    assert public is not None
    only_public = public.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert verify(token, KeyRing(new, [only_public]), [ISSUER], NOW) == CLAIMS
    with pytest.raises(ValueError, match="no key"):
        sign(CLAIMS, ISSUER, KeyRing(b"", [only_public]))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(header: dict[str, Any], key: Any = None) -> str:
    body = {"iss": ISSUER, "sub": "system:serviceaccount:default:robot", "exp": NOW + 600, "kubernetes.io": {}}
    if key is None:
        return f"{part(header)}.{part(body)}."
    return jwt.encode(body, key, header["alg"], headers=header)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("a.b", id="two parts"),
        pytest.param("..", id="empty parts"),
        pytest.param(forged({"alg": "none"}), id="not signed"),
        pytest.param(forged({"alg": "HS256"}, b"k" * 32), id="by a shared key"),
        pytest.param(forged({"alg": "ES256"}, ec.generate_private_key(ec.SECP256R1())), id="by a key of its own"),
        pytest.param(part({"alg": "ES256", "kid": ["a"]}) + ".e30.e30", id="strange key id"),
        pytest.param("a." * 50000, id="endless"),
    ],
)
def test_forgeries(token: str) -> None:
    with pytest.raises(InvalidToken):
        verify(token, RING, [ISSUER], NOW)


def test_a_shared_secret_made_of_the_public_key_is_no_key() -> None:
    signing = RING.signing
    assert signing is not None
    public = signing.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, body = part({"alg": "HS256", "typ": "JWT"}), part({"iss": ISSUER})
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    mac = signature.sign(f"{head}.{body}".encode(), public)
    with pytest.raises(ForeignToken):
        verify(f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}", RING, [ISSUER], NOW)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({}, id="no claims"),
        pytest.param({"kubernetes.io": {}}, id="no account"),
        pytest.param({"kubernetes.io": {"namespace": 1, "serviceaccount": {"name": "a", "uid": "u"}}}, id="numbers"),
        pytest.param({"kubernetes.io": {"namespace": "n", "serviceaccount": {"name": "a"}}}, id="no uid"),
        pytest.param(
            {"kubernetes.io": {"namespace": "n", "serviceaccount": {"name": "b", "uid": "u"}}}, id="another subject"
        ),
        pytest.param({"kubernetes.io": [], "exp": "soon"}, id="lists"),
    ],
)
def test_claims_of_the_wrong_form(payload: dict[str, Any]) -> None:
    body = {"iss": ISSUER, "sub": "system:serviceaccount:n:a", "exp": NOW + 60, "aud": [ISSUER], **payload}
    token = jwt.encode(body, RING.signing, "ES256")  # type: ignore[arg-type]
    with pytest.raises(InvalidToken):
        verify(token, RING, [ISSUER], NOW)


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    for token in (text, f"{text}.{text}.{text}"):
        with pytest.raises(InvalidToken):
            verify(token, RING, [ISSUER], NOW)


def test_the_user_of_a_token() -> None:
    user = replace(CLAIMS, pod=Named("web", "uid-2"), node=Named("n1", "uid-3")).user()
    assert (user.name, user.uid) == ("system:serviceaccount:default:robot", "uid-1")
    assert user.groups == {"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:default"}
    prefix = "authentication.kubernetes.io/"
    assert dict(user.extra) == {
        f"{prefix}credential-id": ("JTI=id-1",),
        f"{prefix}node-name": ("n1",),
        f"{prefix}node-uid": ("uid-3",),
        f"{prefix}pod-name": ("web",),
        f"{prefix}pod-uid": ("uid-2",),
    }


GOOD = {"token-id": b"abcdef", "token-secret": b"0123456789abcdef", "usage-bootstrap-authentication": b"true"}


@pytest.mark.parametrize(
    ("data", "is_good"),
    [
        pytest.param(GOOD, True, id="good"),
        pytest.param({**GOOD, "expiration": b"2099-01-01T00:00:00Z"}, True, id="for a while"),
        pytest.param({**GOOD, "expiration": b"2001-01-01T00:00:00Z"}, False, id="expired"),
        pytest.param({**GOOD, "expiration": b"soon"}, False, id="no date"),
        pytest.param({**GOOD, "token-secret": b"x"}, False, id="another secret"),
        pytest.param({**GOOD, "token-id": b"xxxxxx"}, False, id="another id"),
        pytest.param({**GOOD, "usage-bootstrap-authentication": b"false"}, False, id="for something else"),
        pytest.param({**GOOD, "auth-extra-groups": b"system:bootstrappers:a"}, True, id="a group"),
        pytest.param({**GOOD, "auth-extra-groups": b"system:masters"}, False, id="a group too many"),
    ],
)
def test_bootstrap_tokens(data: dict[str, bytes], is_good: bool) -> None:
    secret = corev1.Secret(type="bootstrap.kubernetes.io/token", data=data)
    user = user_in(secret, "abcdef", "0123456789abcdef", NOW)
    assert (user is not None) is is_good
    if user is not None:
        assert user.name == "system:bootstrap:abcdef"
        assert "system:bootstrappers" in user.groups
