"""What a member is told at its start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from navarch.services.base.tls import Credentials

DEFAULT_QUOTA_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Config:
    """One member of a store.

    data_dir: None keeps everything in memory. listen: "host:port" with mutual TLS when credentials are given, in
    plain text otherwise. listen_insecure: a second address, in plain text, for tests and local tools.
    auto_compaction: keep this much history (seconds or revisions by its mode), 0 for all of it.

    For a store of several members: listen_peer: where the others connect, with mutual TLS when peer_credentials are
    given. initial_cluster: peer URLs by name, this member's too. With initial_existing the cluster runs already and has
    added this member; else all of these members begin a cluster together. initial_token: keeps apart what would
    otherwise have the same ids. What is initial matters at the first start only.
    advertise_*: URLs by which others reach this member; by default what it listens on.
    listen_metrics: "host:port" for metrics in plain HTTP.
    corrupt_check_interval_s: how often the leader compares the members' data; 0: never. initial_corrupt_check: compare
    it with the others' before this member serves.
    """

    data_dir: Path | None = None
    listen: str = "127.0.0.1:0"
    credentials: Credentials | None = None
    listen_insecure: str = ""
    name: str = "default"
    quota_bytes: int = DEFAULT_QUOTA_BYTES
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: int = 0
    listen_peer: str = ""
    peer_credentials: Credentials | None = None
    initial_cluster: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    initial_existing: bool = False
    initial_token: str = ""
    advertise_peer: tuple[str, ...] = ()
    advertise_client: tuple[str, ...] = ()
    listen_metrics: str = ""
    corrupt_check_interval_s: float = 0.0
    initial_corrupt_check: bool = False

    @property
    def client_urls(self) -> tuple[str, ...]:
        """Where clients reach this member."""
        if self.advertise_client:
            return self.advertise_client
        urls = (_url(self.listen, self.credentials), _url(self.listen_insecure, None))
        return tuple(url for url in urls if url)

    @property
    def peer_urls(self) -> tuple[str, ...]:
        """Where the other members reach this one; none when it has no peers."""
        if not self.listen_peer:
            return ()
        if self.advertise_peer:
            return self.advertise_peer
        return self.initial_cluster.get(self.name) or (_url(self.listen_peer, self.peer_credentials),)


def _url(address: str, credentials: Credentials | None) -> str:
    return f"{'https' if credentials else 'http'}://{address}" if address else ""
