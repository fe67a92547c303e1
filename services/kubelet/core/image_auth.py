"""Registry credentials from image pull secrets."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1

DOCKER_HUB = "docker.io"
HUB_ALIASES = ("index.docker.io", "registry-1.docker.io", DOCKER_HUB)


def registry_of(image: str) -> str:
    """The registry that an image name means, with its repository path."""
    name = image.partition("@")[0]
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"{DOCKER_HUB}/{name}"


def credentials_for(image: str, secrets: Iterable[corev1.Secret]) -> criv1.AuthConfig | None:
    """The credentials whose registry fits the image best; None for an anonymous pull."""
    target = registry_of(image)
    fitting = [(len(host), auth) for host, auth in _entries(secrets) if _fits(host, target)]
    return max(fitting, key=lambda entry: entry[0])[1] if fitting else None


def _fits(host: str, target: str) -> bool:
    return target == host or target.startswith(f"{host}/")


def _entries(secrets: Iterable[corev1.Secret]) -> Iterator[tuple[str, criv1.AuthConfig]]:
    for secret in secrets:
        try:
            if ".dockerconfigjson" in secret.data:
                entries: dict[str, Any] = json.loads(secret.data[".dockerconfigjson"]).get("auths", {})
            else:
                entries = json.loads(secret.data.get(".dockercfg", b"{}"))
            for host, entry in entries.items():
                yield _host(host), _auth(host, entry)
        except (ValueError, AttributeError, TypeError):
            # An unreadable secret is no secret: the registry will say what is missing.
            continue


def _host(url: str) -> str:
    bare = url.removeprefix("https://").removeprefix("http://").rstrip("/")
    bare = bare.removesuffix("/v1").removesuffix("/v2")
    return DOCKER_HUB if bare in HUB_ALIASES else bare


def _auth(host: str, entry: dict[str, str]) -> criv1.AuthConfig:
    username, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth") and not username:
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as failure:
            raise ValueError(f"auth of {host} is not base64") from failure
    return criv1.AuthConfig(
        username=username, password=password, server_address=host, identity_token=entry.get("identitytoken", "")
    )
