"""Bootstrap tokens: which count, when they end, and what they sign."""

import jwt
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager.bootstrap_tokens.plan import Token, ends_at, signature, signed_data

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
TOKEN = Token("abcdef", "0123456789abcdef")


def a_secret(kind: str = "bootstrap.kubernetes.io/token", namespace: str = "kube-system", **data: str) -> corev1.Secret:
    secret = corev1.Secret(type=kind)
    secret.metadata.name, secret.metadata.namespace = "bootstrap-token-abcdef", namespace
    whole = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", **data}
    for key, value in whole.items():
        secret.data[key] = value.encode()
    return secret


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        pytest.param(a_secret(), TOKEN, id="good"),
        pytest.param(a_secret(expiration="2023-11-14T22:13:21Z"), TOKEN, id="ends in a second"),
        pytest.param(a_secret(expiration="2023-11-14T22:13:20Z"), None, id="has ended"),
        pytest.param(a_secret(kind="Opaque"), None, id="another type"),
        pytest.param(a_secret(namespace="default"), None, id="another namespace"),
        pytest.param(a_secret(**{"usage-bootstrap-signing": "false"}), None, id="for something else"),
        pytest.param(a_secret(**{"token-id": "fedcba"}), None, id="named otherwise"),
        pytest.param(a_secret(**{"token-secret": ""}), None, id="without a secret"),
    ],
)
def test_which_tokens_sign(secret: corev1.Secret, expected: Token | None) -> None:
    assert Token.of(secret, NOW) == expected


@pytest.mark.parametrize(
    ("expiration", "expected"),
    [
        ("", None),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("tomorrow", 0.0),
        ("2023-11-14T22:13:20", 0.0),
    ],
)
def test_when_a_token_ends(expiration: str, expected: float | None) -> None:
    assert ends_at(a_secret(expiration=expiration)) == expected


def test_a_signature_is_a_detached_jws() -> None:
    # Longer than tokens are: the library minds short keys.
    token = Token("abcdef", "0123456789abcdef" * 2)
    head, middle, tail = signature("content", token).split(".")
    assert middle == ""
    whole = f"{head}.Y29udGVudA.{tail}"
    assert jwt.get_unverified_header(whole) == {"alg": "HS256", "kid": "abcdef"}
    assert jwt.PyJWS().decode(whole, token.secret, ["HS256"]) == b"content"


def test_only_tokens_that_count_have_signatures() -> None:
    old = {"kubeconfig": "content", "jws-kubeconfig-gone": "x", "other": "stays"}
    signed = signed_data(old, [TOKEN])
    assert signed == {"kubeconfig": "content", "other": "stays", "jws-kubeconfig-abcdef": signature("content", TOKEN)}
    assert signed_data(signed, [TOKEN]) == signed
    assert signed_data({"other": "stays", "jws-kubeconfig-abcdef": "x"}, [TOKEN]) == {"other": "stays"}
