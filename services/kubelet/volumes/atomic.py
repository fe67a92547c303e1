"""Directories whose files change all at once.

    dir/..2026_01_31_12_00_00.123/key     the files
    dir/..data -> ..2026_01_31_12_00_00.123
    dir/key -> ..data/key

A new set of files becomes visible by one rename of the `..data` link, so a container never sees half of an
update; links to what is gone are removed afterwards. This is the layout that Pods know from Kubernetes.
"""

import os
import shutil
from pathlib import Path

from navarch.services.kubelet.core.volume_content import File, Files
from navarch.services.kubelet.volumes.ownership import give_to_group

DATA = "..data"
STAGED_LINK = "..data_tmp"


def write(directory: Path, files: Files, stamp: str, gid: int | None = None) -> bool:
    """Make the directory hold exactly these files. Returns whether anything changed.

    stamp: names the new set; must differ from the present one's. gid: the group that may read. After a crash
    at any line a second call repairs what the first left.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / DATA
    changed = not (data.is_symlink() and _holds(data, files))
    if changed:
        fresh = directory / f"..{stamp}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for path, file in files.items():
            _write(fresh, fresh / path, file)
        fresh.chmod(0o755)
        give_to_group(fresh, gid, read_only=True)
        staged = directory / STAGED_LINK
        staged.unlink(missing_ok=True)
        staged.symlink_to(fresh.name)
        staged.rename(data)
    _link(directory, files)
    give_to_group(directory, gid, read_only=True)
    _remove_old_sets(directory, os.readlink(data))
    return changed


def _write(root: Path, target: Path, file: File) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for parent in target.parents:
        if parent == root:
            break
        # Whatever our own umask: containers with other users look into them.
        parent.chmod(0o755)
    target.write_bytes(file.content)
    target.chmod(file.mode)
    if file.uid is not None:
        os.chown(target, file.uid, -1)


def _remove_old_sets(directory: Path, current: str) -> None:
    for other in directory.iterdir():
        if other.name.startswith("..") and other.name != current and other.is_dir() and not other.is_symlink():
            shutil.rmtree(other)


def _holds(data: Path, files: Files) -> bool:
    """Whether the present set has these files with this content."""
    present = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()} if data.is_dir() else set()
    if present != set(files) or not data.is_dir():
        return False
    return all((data / path).read_bytes() == file.content for path, file in files.items())


def _link(directory: Path, files: Files) -> None:
    """Have a link for the first part of each path, and no other."""
    tops = {path.split("/", 1)[0] for path in files}
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    for top in tops:
        link = directory / top
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{top}")
