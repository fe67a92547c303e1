"""Removal of the empty cgroups that the runtime leaves behind: it makes a Pod's parents, nobody removes them."""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def remove_parents(root: str) -> None:
    """Remove the cgroups of the classes and their root, where no Pod is left in them."""
    for path in (f"{root}/burstable", f"{root}/besteffort", root):
        remove(path)


def remove_orphans(root: str, known: set[str]) -> None:
    """Remove the empty cgroups of Pods below the root whose uids are not known."""
    for hierarchy in _hierarchies():
        for class_ in ("", "burstable", "besteffort"):
            for group in (hierarchy / root.lstrip("/") / class_).glob("pod*"):
                if group.name.removeprefix("pod") not in known:
                    remove(f"{root}/{class_}/{group.name}")


def remove(path: str) -> None:
    """Remove an empty cgroup from every hierarchy, v1 and v2. One that is still in use stays."""
    for hierarchy in _hierarchies():
        try:
            (hierarchy / path.lstrip("/")).rmdir()
        except OSError:
            # Not there, or not empty: then it is not ours to remove.
            continue


def _hierarchies() -> list[Path]:
    if not ROOT.is_dir():
        return []
    return [ROOT, *(entry for entry in ROOT.iterdir() if entry.is_dir() and not entry.is_symlink())]
