"""Which hosts serve a registry's images: mirrors, addresses, certificates; read anew for every pull.

The layout is containerd's: `<config_dir>/<host>/hosts.toml`, where a port is written `host_port_` or
`host:port`, and `_default` is for all registries without a folder. A folder without hosts.toml may hold Docker's
certificate files instead. A file that can't be understood refuses the pull (containerd logs it and asks the
registry itself): an administrator who names a mirror may not want anyone else to be asked.
Source: containerd's docs/hosts.md.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from navarch.runtime_shim.errors import FailedPrecondition
from navarch.runtime_shim.reference import DEFAULT_HOST

PULL, RESOLVE, PUSH = "pull", "resolve", "push"
CAPABILITIES = frozenset((PULL, RESOLVE, PUSH))
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Host:
    """A server that may be asked. url: with the path that stands for the API's root, without a slash at its end."""

    url: str
    capabilities: frozenset[str] = CAPABILITIES
    ca: tuple[Path, ...] = ()
    # Certificate and key; both in the first where there is no second.
    client: tuple[tuple[Path, Path | None], ...] = ()
    skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    # None: what the pull's options say.
    dial_timeout_s: float | None = None

    @property
    def authority(self) -> str:
        """host[:port]; a user's name and password are not for the eyes of those who read it."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def hosts_of(registry: str, config_dirs: Iterable[Path]) -> list[Host]:
    """The hosts to ask for images of a registry, in order. Raises FailedPrecondition for a broken configuration."""
    folder = _folder(registry, config_dirs)
    if folder is None:
        return [Host(default_url(registry))]
    path = folder / "hosts.toml"
    try:
        text = path.read_text() if path.exists() else ""
        if text:
            return parse(text, registry, folder)
        return [_with_certificate_files(Host(default_url(registry)), folder)]
    except (OSError, ValueError, TypeError, AttributeError) as failure:
        raise FailedPrecondition(f"registry configuration {path}: {failure}") from None


def parse(text: str, registry: str, folder: Path) -> list[Host]:
    """Read hosts.toml; relative paths start at `folder`. Raises ValueError, TypeError."""
    document = tomllib.loads(text)
    # Tables keep the order of the file, which is the order of trying.
    hosts = [_host(url, table, registry, folder) for url, table in document.get("host", {}).items()]
    return [*hosts, _host(document.get("server", ""), document, registry, folder)]


def default_url(registry: str) -> str:
    """Where a registry answers that nothing is known of: HTTPS, but plain HTTP on loopback."""
    if registry == DEFAULT_HOST:
        return "https://registry-1.docker.io/v2"
    name = registry.rsplit(":", 1)[0] if not registry.endswith("]") else registry
    return f"{'http' if is_loopback(name) else 'https'}://{registry}/v2"


def is_loopback(name: str) -> bool:
    """Whether a host name or address, brackets and all, can only be this machine."""
    try:
        return name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def duration_s(text: str) -> float:
    """Go's notation: 1m30s. Raises ValueError."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"{text!r} is not a duration")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _folder(registry: str, config_dirs: Iterable[Path]) -> Path | None:
    name, colon, port = registry.rpartition(":")
    own = [f"{name}_{port}_"] if colon and name else []
    for root in config_dirs:
        for candidate in (*own, registry, "_default"):
            if (folder := root / candidate).is_dir():
                return folder
    return None


def _host(url: str, table: Mapping[str, Any], registry: str, folder: Path) -> Host:
    capabilities = frozenset(map(str.lower, table.get("capabilities") or CAPABILITIES))
    if unknown := capabilities - CAPABILITIES:
        raise ValueError(f"unknown capability {min(unknown)!r}")
    timeout = table.get("dial_timeout")
    return Host(
        _base_url(url, bool(table.get("override_path"))) if url else default_url(registry),
        capabilities if url else CAPABILITIES,
        tuple(folder / name for name in _strings(table.get("ca"), "ca")),
        _client_pairs(table.get("client"), folder),
        table.get("skip_verify") is True,
        tuple((name, text) for name, value in table.get("header", {}).items() for text in _strings(value, name)),
        duration_s(timeout) if timeout else None,
    )


def _base_url(url: str, override_path: bool) -> str:
    if not url.startswith(("http://", "https://")):
        url = f"https://{url}"
    parts = urlsplit(url)
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url.rpartition('@')[2].partition('?')[0]!r} is not the address of a host")
    path = parts.path.rstrip("/")
    if not override_path and not path.endswith("/v2"):
        path += "/v2"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _strings(value: object, name: str) -> list[str]:
    """A string or a list of strings."""
    values = [value] if isinstance(value, str) else value or []
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise TypeError(f"{name} must be a string or a list of strings")
    return values


def _client_pairs(value: object, folder: Path) -> tuple[tuple[Path, Path | None], ...]:
    pairs: list[tuple[Path, Path | None]] = []
    for entry in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
        names = _strings(entry, "client")
        if len(names) != (1 if isinstance(entry, str) else 2):
            raise ValueError(f"client must name pairs of a certificate and a key, not {entry!r}")
        pairs.append((folder / names[0], folder / names[1] if len(names) == 2 else None))
    return tuple(pairs)


def _with_certificate_files(host: Host, folder: Path) -> Host:
    """Docker's way: NAME.crt are authorities, NAME.cert and NAME.key our own."""
    pairs = tuple((certificate, certificate.with_suffix(".key")) for certificate in sorted(folder.glob("*.cert")))
    for certificate, key in pairs:
        if not key.exists():
            raise ValueError(f"{certificate.name} has no {key.name} beside it")
    return replace(host, ca=tuple(sorted(folder.glob("*.crt"))), client=pairs)
