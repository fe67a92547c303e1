"""What a registry is asked with: where it answers, credentials, challenges."""

import base64

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.images.registry import Credentials, base_url, parse_challenge
from navarch.runtime_shim.errors import InvalidArgument

BASIC = base64.b64encode(b"me:se:cret").decode()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("quay.io", "https://quay.io"),
        ("registry.example.org:5000", "https://registry.example.org:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("localhost.example.org", "https://localhost.example.org"),
        ("localhost", "http://localhost"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.8.8.8", "http://127.8.8.8"),
        ("[::1]", "http://[::1]"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000"),
    ],
)
def test_base_url(host: str, url: str) -> None:
    assert base_url(host) == url


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({}, Credentials()),
        ({"username": "me", "password": "secret"}, Credentials("me", "secret")),
        ({"auth": BASIC}, Credentials("me", "se:cret")),
        # Some tools pad what they encode with zeros.
        ({"auth": base64.b64encode(b"me:secret\0\0").decode()}, Credentials("me", "secret")),
        ({"auth": BASIC, "username": "other", "password": "own"}, Credentials("other", "own")),
        ({"identity_token": "i"}, Credentials(identity_token="i")),
        ({"registry_token": "r"}, Credentials(registry_token="r")),
    ],
    ids=str,
)
def test_credentials_of_a_pull_secret(auth: dict[str, str], expected: Credentials) -> None:
    assert Credentials.of(criv1.AuthConfig(**auth)) == expected


@pytest.mark.parametrize("auth", ["no base64", base64.b64encode(b"\xff\xfe").decode()])
def test_an_unreadable_pull_secret(auth: str) -> None:
    with pytest.raises(InvalidArgument, match="pull secret"):
        Credentials.of(criv1.AuthConfig(auth=auth))


def test_the_basic_header_keeps_colons_and_secrets_stay_out_of_logs() -> None:
    credentials = Credentials("me", "se:cret", "identity", "registry")
    assert credentials.basic == f"Basic {BASIC}"
    assert not any(secret in repr(credentials) for secret in ("se:cret", "identity'", "registry'"))


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ("", "", {}),
        ("Basic", "basic", {}),
        ('BASIC realm="Registry Realm"', "basic", {"realm": "Registry Realm"}),
        (
            'Bearer realm="https://auth.example.org/token",service="example",scope="repository:a/b:pull,push"',
            "bearer",
            {"realm": "https://auth.example.org/token", "service": "example", "scope": "repository:a/b:pull,push"},
        ),
        (
            "Bearer Realm = https://auth.example.org/token , service=example",
            "bearer",
            {"realm": "https://auth.example.org/token", "service": "example"},
        ),
        ('Bearer realm="https://a/t",scope=""', "bearer", {"realm": "https://a/t", "scope": ""}),
    ],
)
def test_parse_challenge(header: str, scheme: str, parameters: dict[str, str]) -> None:
    assert parse_challenge(header) == (scheme, parameters)
