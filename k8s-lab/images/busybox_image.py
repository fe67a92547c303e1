"""Builds a small OCI image archive from this host's static busybox.

    python3 k8s-lab/images/busybox_image.py OUTPUT.tar [--name docker.io/library/busybox:navarch]

Needs nothing but the standard library and /bin/busybox (Debian: busybox-static). The same busybox gives the same
bytes, thus the same digests.
"""

import argparse
import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
NAME = "docker.io/library/busybox:navarch"
DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "home",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/sbin",
    "var",
    "var/www",
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nweb:x:1000:1000:web:/home:/bin/sh\n"
GROUP = "root:x:0:\nnogroup:x:65534:\nweb:x:1000:\nstaff:x:50:web\n"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", mode: int = 0o644, **fields: object) -> None:
    """Add a member with owner root and no time of its own."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


def root_filesystem(busybox: Path) -> bytes:
    """The one layer: busybox, a link for each of its applets, and the few files that programs expect."""
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for name in DIRECTORIES:
            add(layer, name, mode=0o1777 if name == "tmp" else 0o755, type=tarfile.DIRTYPE)
        add(layer, "bin/busybox", busybox.read_bytes(), mode=0o755)
        for applet in sorted({*applets} - {"busybox"}):
            add(layer, f"bin/{applet}", mode=0o777, type=tarfile.SYMTYPE, linkname="busybox")
        add(layer, "etc/passwd", PASSWD.encode())
        add(layer, "etc/group", GROUP.encode())
    return buffer.getvalue()


def build(output: Path, name: str = NAME, busybox: Path = BUSYBOX, cmd: tuple[str, ...] = ("sh",)) -> None:
    """Write the archive."""
    layer = root_filesystem(busybox)
    blobs: dict[str, bytes] = {}

    def blob(media_type: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(media_type: str, content: dict[str, object]) -> dict[str, object]:
        return blob(media_type, json.dumps(content, sort_keys=True).encode())

    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Cmd": list(cmd), "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created_by": "busybox_image.py"}],
    }
    packed = gzip.compress(layer, compresslevel=6, mtime=0)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": document("application/vnd.oci.image.config.v1+json", config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
    }
    entry = document("application/vnd.oci.image.manifest.v1+json", manifest)
    tag = name.rpartition(":")[2]
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": [entry]}
    with tarfile.open(output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(archive, "index.json", json.dumps(index).encode())
        for path, data in blobs.items():
            add(archive, path, data)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="build an OCI image archive from the host's static busybox")
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--busybox", type=Path, default=BUSYBOX)
    arguments = parser.parse_args()
    if not arguments.busybox.exists():
        raise SystemExit(f"{arguments.busybox} is missing: install busybox-static")
    build(arguments.output, arguments.name, arguments.busybox)


if __name__ == "__main__":
    main()
