"""What a registry is asked with: where it answers, credentials, challenges."""

import base64

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.images.auth import Credentials, parse_challenges, token_request
from navarch.runtime_shim.containerd.images.hosts import default_url
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
def test_default_url(host: str, url: str) -> None:
    assert default_url(host) == f"{url}/v2"


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


@pytest.mark.parametrize(
    "auth", ["no base64", base64.b64encode(b"\xff\xfe").decode(), base64.b64encode(b"no colon").decode()]
)
def test_an_unreadable_pull_secret(auth: str) -> None:
    with pytest.raises(InvalidArgument, match="pull secret"):
        Credentials.of(criv1.AuthConfig(auth=auth))


def test_the_basic_header_keeps_colons_and_secrets_stay_out_of_logs() -> None:
    credentials = Credentials("me", "se:cret", "identity", "registry")
    assert credentials.basic == f"Basic {BASIC}"
    assert not any(secret in repr(credentials) for secret in ("se:cret", "identity'", "registry'"))


@pytest.mark.parametrize(
    ("server", "host", "told"),
    [
        ("", "registry.example.org", True),
        ("registry.example.org", "registry.example.org", True),
        ("https://registry.example.org", "registry.example.org", True),
        ("https://registry.example.org:5000/v2/", "registry.example.org:5000", True),
        ("registry.example.org:5000", "registry.example.org", False),
        ("https://index.docker.io/v1/", "registry-1.docker.io", True),
        ("docker.io", "registry-1.docker.io", True),
        ("https://registry.example.org", "evil.example.org", False),
        ("https://evil.example.org@registry.example.org", "evil.example.org", False),
    ],
)
def test_only_the_server_of_a_pull_secret_is_told_it(server: str, host: str, told: bool) -> None:
    credentials = Credentials.of(criv1.AuthConfig(username="me", password="secret", server_address=server))
    assert (credentials.for_host(host, mirror=False).username == "me") is told


def test_a_registry_token_is_kept_from_mirrors() -> None:
    credentials = Credentials("me", "secret", registry_token="r")
    assert credentials.for_host("a", mirror=False).registry_token == "r"
    assert credentials.for_host("a", mirror=True) == Credentials("me", "secret")


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('BASIC realm="Registry Realm"', [("basic", {"realm": "Registry Realm"})]),
        (
            'Bearer realm="https://auth.example.org/token",service="example",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.example.org/token",
                        "service": "example",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            "Bearer Realm = https://auth.example.org/token , service=example",
            [("bearer", {"realm": "https://auth.example.org/token", "service": "example"})],
        ),
        ('Bearer realm="https://a/t",scope=""', [("bearer", {"realm": "https://a/t", "scope": ""})]),
        (
            'Basic realm="one", Bearer realm="https://a/t",error="invalid_token"',
            [("basic", {"realm": "one"}), ("bearer", {"realm": "https://a/t", "error": "invalid_token"})],
        ),
        (r'Basic realm="say \"hello\", Bearer"', [("basic", {"realm": 'say "hello", Bearer'})]),
        ("realm=alone", []),
    ],
)
def test_parse_challenges(header: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == challenges


def test_a_token_is_asked_for_with_every_scope() -> None:
    challenge = {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull repository:b:pull"}
    request = token_request(challenge, "repository:c:pull", Credentials("me", "secret"))
    assert request.query == (("service", "s"), ("scope", "repository:a:pull"), ("scope", "repository:b:pull"))
    assert request.authorization.startswith("Basic ")
    assert token_request({"realm": "r"}, "repository:c:pull", Credentials()).query == (("scope", "repository:c:pull"),)


def test_an_identity_token_is_posted() -> None:
    request = token_request({"realm": "r", "service": "s"}, "x", Credentials("me", "secret", identity_token="i"))
    assert dict(request.form) == {
        "grant_type": "refresh_token",
        "refresh_token": "i",
        "service": "s",
        "client_id": "navarch",
        "scope": "x",
    }
    assert not request.authorization
