"""Removal of the empty cgroups that the runtime leaves behind: it makes a Pod's parents, nobody removes them."""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def remove_parents(root: str) -> None:
    """Remove the cgroups of the classes and their root, where no Pod is left in them."""
    for path in (f"{root}/burstable", f"{root}/besteffort", root):
        remove(path)


def remove(path: str) -> None:
    """Remove an empty cgroup from every hierarchy, v1 and v2. One that is still in use stays."""
    if not ROOT.is_dir():
        return
    for hierarchy in [ROOT, *(entry for entry in ROOT.iterdir() if entry.is_dir() and not entry.is_symlink())]:
        try:
            (hierarchy / path.lstrip("/")).rmdir()
        except OSError:
            # Not there, or not empty: then it is not ours to remove.
            continue
