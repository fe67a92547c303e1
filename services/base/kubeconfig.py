"""Reads and writes kubeconfig files, the ones that kubectl uses.

Our gRPC door is another address of the same cluster; it is kept as an extension of the cluster entry, which
other clients leave alone:

    clusters:
    - name: navarch
      cluster:
        server: https://127.0.0.1:6443
        certificate-authority-data: ...
        extensions:
        - name: navarch.dev/grpc
          extension: {address: "127.0.0.1:7443"}
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from navarch.services.base.credentials import Credentials, write_private

EXTENSION = "navarch.dev/grpc"


class KubeconfigError(Exception):
    """The file cannot be used; says why and names it."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig. address: of the gRPC door, "host:port". server: of the REST door, a URL."""

    address: str
    credentials: Credentials
    server: str
    namespace: str = "default"
    context: str = ""


def write_kubeconfig(
    path: Path,
    server: str,
    credentials: Credentials,
    *,
    grpc_address: str,
    cluster: str = "navarch",
    user: str = "kubernetes-admin",
    namespace: str = "",
    pair: Path | None = None,
) -> None:
    """Write a file of one context, certificates or token inside, readable by its owner only.

    pair: a file with certificate and key, to be named instead, since it will change.
    """
    context = f"{user}@{cluster}"
    extension = {"name": EXTENSION, "extension": {"address": grpc_address}}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _encode(credentials.ca),
                    "extensions": [extension],
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": _user_entry(credentials, pair),
            }
        ],
        "contexts": [
            {
                "name": context,
                "context": {"cluster": cluster, "user": user, **({"namespace": namespace} if namespace else {})},
            }
        ],
        "current-context": context,
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())


def _user_entry(credentials: Credentials, pair: Path | None) -> dict[str, str]:
    if pair is not None:
        return {"client-certificate": str(pair), "client-key": str(pair)}
    if credentials.token:
        return {"token": credentials.token}
    return {
        "client-certificate-data": _encode(credentials.cert),
        "client-key-data": _encode(credentials.key),
    }


def load_kubeconfig(path: Path, context: str = "", *, address: str = "") -> Kubeconfig:
    """Read a context, the current one unless another is named. Raises KubeconfigError.

    address: of the gRPC door, for files that do not name it.
    """
    try:
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as failure:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {failure.strerror}") from failure
    except yaml.YAMLError as failure:
        raise KubeconfigError(f"kubeconfig {path} is not YAML: {failure}") from failure
    try:
        return _select(document, context, path.parent, address)
    except KeyError as failure:
        raise KubeconfigError(f"kubeconfig {path} is incomplete: {failure} is missing") from failure
    except (TypeError, ValueError, OSError, AttributeError) as failure:
        raise KubeconfigError(f"kubeconfig {path} is incomplete: {failure}") from failure


def _select(document: Mapping[str, Any], name: str, folder: Path, address: str) -> Kubeconfig:
    name = name or document["current-context"]
    context = _named(document, "contexts", "context", name)
    cluster = _named(document, "clusters", "cluster", context["cluster"])
    user = _named(document, "users", "user", context["user"])
    extensions = {entry["name"]: entry["extension"] for entry in cluster.get("extensions") or ()}
    address = address or extensions.get(EXTENSION, {}).get("address", "")
    if not address:
        raise ValueError(f"cluster {context['cluster']!r} names no gRPC address (extension {EXTENSION})")
    authority = _content(cluster, "certificate-authority", folder)
    if token := _token(user, folder):
        credentials = Credentials(authority, b"", b"", token)
    else:
        pair = _content(user, "client-certificate", folder), _content(user, "client-key", folder)
        credentials = Credentials(authority, *pair)
    return Kubeconfig(address, credentials, cluster["server"], context.get("namespace") or "default", name)


def _named(document: Mapping[str, Any], entries: str, member: str, name: str) -> Mapping[str, Any]:
    for entry in document.get(entries) or ():
        if entry["name"] == name:
            found: Mapping[str, Any] = entry[member]
            return found
    raise ValueError(f"no entry {name!r} in {entries}")


def _token(user: Mapping[str, Any], folder: Path) -> str:
    """A bearer token; one that is named by its file comes from there, as with kubectl."""
    if file := user.get("tokenFile"):
        return Path(folder, str(file)).read_text().strip()
    return str(user.get("token") or "")


def _content(entry: Mapping[str, Any], field: str, folder: Path) -> bytes:
    """PEM from "field-data" (base64) or from the file that "field" names."""
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data, validate=True)
    if file := entry.get(field):
        return Path(folder, str(file)).read_bytes()
    raise ValueError(f"no {field}-data")


def _encode(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
