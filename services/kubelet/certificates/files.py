"""Certificates and keys in --cert-dir, named as the genuine kubelet names them.

    kubelet-client-2026-05-04-03-02-01.pem      certificate and key, readable by the owner only
    kubelet-client-current.pem                  link to the one in use
    kubelet-client.key.tmp                      the key of a request that is not answered yet
    kubelet.crt, kubelet.key                    what is served with where nobody signs

Each change is one rename, so that a kill at any moment leaves the old or the new one in use.
"""

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from navarch.services.base.clock import Clock
from navarch.services.base.credentials import write_private
from navarch.services.base.tls import new_key, self_signed
from navarch.services.kubelet.core.certificates import Held

_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----.+?-----END ([A-Z]+ )?PRIVATE KEY-----\n?", re.DOTALL)
# Those before the last one are kept for a look back, no further.
KEPT = 3
# How soon files that somebody else renews are taken up.
FOLLOW_S = 5.0


class PairFiles:
    """The certificate of one purpose. prefix: what the names of its files begin with."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self._directory = directory
        self._prefix = prefix
        self.current = directory / f"{prefix}-current.pem"
        self._draft = directory / f"{prefix}.key.tmp"

    def load(self) -> tuple[bytes, bytes] | None:
        """Certificate and key in use, PEM each; None where there is none that can be read."""
        try:
            return split(self.current.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def obtained_at(self) -> float:
        """When the one in use was written, unix seconds; 0 where there is none."""
        return self.current.stat().st_mtime if self.current.exists() else 0.0

    def draft_key(self) -> bytes:
        """The key to ask with: that of the request before, while that one is not answered."""
        try:
            key = self._draft.read_bytes()
            serialization.load_pem_private_key(key, None)
            return key
        except (FileNotFoundError, ValueError):
            key = new_key()
            self._write(self._draft, key)
            return key

    def drop_draft(self) -> None:
        """The next request takes a new key."""
        self._draft.unlink(missing_ok=True)

    def save(self, certificate: bytes, key: bytes, now: float) -> None:
        """Put a new one into use."""
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d-%H-%M-%S-%f")
        path = self._directory / f"{self._prefix}-{stamp}.pem"
        self._write(path, certificate.rstrip() + b"\n" + key)
        link = self._directory / f".{self._prefix}-current.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(self.current)
        self.drop_draft()
        for old in sorted(self._directory.glob(f"{self._prefix}-2*.pem"))[:-KEPT]:
            old.unlink()

    def _write(self, path: Path, content: bytes) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        write_private(path, content)


def self_signed_pair(directory: Path, node_name: str, names: Sequence[str], now: float) -> tuple[bytes, bytes]:
    """Certificate and key that were made here, where nobody signs serving certificates; kept, and made anew at the end.

    names: that the node is reached by.
    """
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    cert, key = directory / "kubelet.crt", directory / "kubelet.key"
    with suppress(FileNotFoundError, ValueError):
        pair = cert.read_bytes(), key.read_bytes()
        held = read(pair[0])
        if held.end > now and frozenset(names) <= held.names and matches(*pair):
            return pair
    pair = self_signed(f"{node_name}@{int(now)}", names, now)
    write_private(key, pair[1])
    write_private(cert, pair[0])
    return pair


def read_pair(files: tuple[Path, Path]) -> tuple[bytes, bytes]:
    """Certificate and key from their files. Raises OSError, ValueError when they are no pair."""
    pair = files[0].read_bytes(), files[1].read_bytes()
    if not matches(*pair):
        raise ValueError(f"the key in {files[1]} does not belong to the certificate in {files[0]}")
    return pair


async def follow(
    files: tuple[Path, Path], clock: Clock, on_new: Callable[[tuple[bytes, bytes]], Awaitable[None]]
) -> None:
    """Tell of the pair, and of each that takes its place; what is between the changes of the two files is no pair."""
    known: tuple[bytes, bytes] | None = None
    while True:
        with suppress(OSError, ValueError):
            if (pair := read_pair(files)) != known:
                await on_new(pair)
                known = pair
        await clock.sleep(FOLLOW_S)


def split(pem: bytes) -> tuple[bytes, bytes]:
    """Certificates and key of a file that holds both. Raises ValueError when one is missing or they are no pair."""
    key = _KEY.search(pem)
    certificate = _KEY.sub(b"", pem).strip() + b"\n"
    if key is None or not matches(certificate, key[0]):
        raise ValueError("a certificate and its key were expected")
    return certificate, key[0]


def matches(certificate: bytes, key: bytes) -> bool:
    """Whether a key belongs to a certificate. Raises ValueError for what cannot be read."""
    found = serialization.load_pem_private_key(key, None).public_key()
    return found == x509.load_pem_x509_certificate(certificate).public_key()


def read(pem: bytes) -> Held:
    """What a certificate says. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    names: list[str] = []
    with suppress(x509.ExtensionNotFound):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += found.get_values_for_type(x509.DNSName)
        names += [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Held(
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        str(common[0].value) if common else "",
        frozenset(names),
    )
