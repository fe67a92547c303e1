"""What bounds a pull, and where its host configuration lies."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Bounds of a pull. Times are in seconds."""

    # The first folder that knows a registry decides, as containerd's `config_path` has it.
    config_dirs: tuple[Path, ...] = (Path("/etc/containerd/certs.d"), Path("/etc/docker/certs.d"))
    # containerd's max_concurrent_downloads.
    downloads_at_once: int = 3
    # Failed tries without progress, of each document and blob; then the kubelet tries again later.
    tries: int = 4
    retry_s: float = 0.2
    # A registry's Retry-After beyond this is not waited for: the kubelet has its own backoff.
    retry_after_s: float = 30.0
    # Silence this long on an open connection means a dead peer.
    progress_timeout_s: float = 60.0
    dial_timeout_s: float = 30.0
    # overlayfs takes 500 lower folders.
    layers: int = 500
    image_bytes: int = 256 << 30
    # Names whose images the kubelet must not collect.
    pinned: frozenset[str] = field(default_factory=frozenset)
