"""What a process proves its identity with; apart from the making of certificates, which is slow to load."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate, its key, and the authority that peers are checked against; PEM each.

    token: what a client shows instead of a certificate (empty then, as is the key).
    """

    ca: bytes
    cert: bytes
    key: bytes = field(repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def load(cls, ca: Path, cert: Path, key: Path) -> Self:
        """Read the three files. Raises OSError that names the missing one."""
        return cls(Path(ca).read_bytes(), Path(cert).read_bytes(), Path(key).read_bytes())

    def save(self, ca: Path, cert: Path, key: Path) -> None:
        """Write the three files; the key readable by its owner only."""
        ca.write_bytes(self.ca)
        cert.write_bytes(self.cert)
        write_private(key, self.key)

    def channel(self) -> grpc.ChannelCredentials:
        """For a client that presents its certificate, or its token."""
        connection = grpc.ssl_channel_credentials(self.ca, self.key or None, self.cert or None)
        if not self.token:
            return connection
        return grpc.composite_channel_credentials(connection, grpc.access_token_call_credentials(self.token))

    def server(self) -> grpc.ServerCredentials:
        """For a server that refuses clients without a certificate of the authority."""
        return grpc.ssl_server_credentials([(self.key, self.cert)], self.ca, require_client_auth=True)

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """For a server whose certificate changes while it serves."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.cert)], self.ca)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically with one that only its owner can read, at no moment readable by others."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
    staging.replace(path)
