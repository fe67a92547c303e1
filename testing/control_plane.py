"""A control plane in a process of its own: store, API server, controllers and scheduler, and no node.

    python -m navarch.testing.control_plane DIRECTORY

The directory holds the authority by whose certificates everybody is known (`authority.pem`, `authority.key`); the
addresses are written to `address` and `rest-url` there when all of it serves. It ends with its standard input.
"""

import asyncio
import sys
import time
from pathlib import Path

from navarch.services.base.tls import CertificateAuthority
from navarch.testing.cluster import InProcessCluster


async def serve(directory: Path) -> None:
    """Run until standard input ends."""
    authority = CertificateAuthority.load(
        (directory / "authority.pem").read_bytes(), (directory / "authority.key").read_bytes()
    )
    async with InProcessCluster(directory, nodes=0, authority=authority) as cluster:
        _write(directory / "rest-url", cluster.rest_url)
        _write(directory / "address", cluster.api_server)
        await asyncio.to_thread(sys.stdin.buffer.read)


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def new_authority(directory: Path) -> CertificateAuthority:
    """Make the directory's authority, before the control plane is started on it."""
    made = CertificateAuthority.create("navarch-test", time.time())
    (directory / "authority.pem").write_bytes(made.cert_pem)
    (directory / "authority.key").write_bytes(made.key_pem)
    return made


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
