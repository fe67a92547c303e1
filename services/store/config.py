"""What a member is told at its start."""

from dataclasses import dataclass
from pathlib import Path

from navarch.services.base.tls import Credentials

DEFAULT_QUOTA_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Config:
    """One member of a store.

    data_dir: None keeps everything in memory. listen: "host:port" with mutual TLS when credentials are given, in
    plain text otherwise. listen_insecure: a second address, in plain text, for tests and local tools.
    auto_compaction: keep this much history (seconds or revisions by its mode), 0 for all of it.
    """

    data_dir: Path | None = None
    listen: str = "127.0.0.1:0"
    credentials: Credentials | None = None
    listen_insecure: str = ""
    name: str = "default"
    quota_bytes: int = DEFAULT_QUOTA_BYTES
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: int = 0
