"""Images that differ from the busybox image in their configuration: user, stop signal, command ..."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from navarch.testing.private_containerd import busybox_builder

from .registry import INDEX


def variant(path: Path, **config: object) -> Path:
    """An OCI archive at `path` whose image has these members in its configuration (`User="web"` ...)."""
    busybox_builder().build(path, "example.com/any:navarch")
    with tarfile.open(path) as tar:
        files = {m.name: file.read() for m in tar.getmembers() if (file := tar.extractfile(m)) is not None}
    index = json.loads(files[INDEX])
    manifest = json.loads(files[_blob(index["manifests"][0])])
    image = json.loads(files[_blob(manifest["config"])])
    image["config"].update(config)
    manifest["config"] |= _added(files, image)
    index["manifests"][0] |= _added(files, manifest)
    files[INDEX] = json.dumps(index).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _blob(descriptor: dict[str, Any]) -> str:
    return "blobs/sha256/" + str(descriptor["digest"]).removeprefix("sha256:")


def _added(files: dict[str, bytes], document: dict[str, Any]) -> dict[str, object]:
    """Add a document's blob; returns what its descriptor says of it."""
    data = json.dumps(document).encode()
    added: dict[str, object] = {"digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
    files[_blob(added)] = data
    return added
