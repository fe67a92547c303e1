"""The control groups that the kubelet makes, writes and removes; on version 1 (also beside version 2), or on 2.

Only in the trees of the controllers that it sets; what else a runtime needs it makes itself below the same names,
and all of it is removed here.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from navarch.services.kubelet.core.cgroup_settings import GroupSettings, files

ROOT = Path("/sys/fs/cgroup")
# Without them Pods cannot be kept apart. Huge pages are optional.
NEEDED = ("cpu", "memory", "pids")
OPTIONAL = ("hugetlb",)
# Version 2 hands on to children what runc sets there too.
HANDED_ON = (*NEEDED, *OPTIONAL, "cpuset", "io")
# What version 1 takes for no limit of memory, and what it shows then: at least this many bytes.
NO_LIMIT, SURELY_NO_LIMIT = "-1", 1 << 62
PAGE_BYTES = resource.getpagesize()


class GroupFailure(Exception):
    """A control group could not be made or set; the message names file and value."""


class ControlGroups:
    """Of this host. root: where they are mounted, another one for tests."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self.unified = (root / "cgroup.controllers").exists()

    def missing(self) -> list[str]:
        """The controllers that are needed and not there."""
        if self.unified:
            there = (self._root / "cgroup.controllers").read_text().split()
            return [name for name in NEEDED if name not in there]
        return [name for name in NEEDED if not (self._root / name).is_dir()]

    def exists(self, path: str) -> bool:
        """Whether there is such a group, in all trees that matter."""
        return all(folder.is_dir() for folder in self._folders(path, NEEDED))

    def make(self, path: str, settings: GroupSettings) -> None:
        """Make a group with those above it, if it is not there, and set it. Raises GroupFailure."""
        try:
            if self.unified:
                self._hand_down(path)
            for folder in self._folders(path, (*NEEDED, *OPTIONAL)):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise GroupFailure(f"control group {path}: {failure}") from failure
        self.write(path, settings)

    def write(self, path: str, settings: GroupSettings) -> None:
        """Set a group that is there. Raises GroupFailure."""
        for name, content in files(settings, unified=self.unified).items():
            controller, _, file = name.rpartition("/")
            if controller in OPTIONAL and not (self._root / controller).is_dir():
                continue
            target = self._root / controller / path.lstrip("/") / file
            try:
                target.write_text(content)
            except OSError as failure:
                raise GroupFailure(f"{target}: {content}: {failure.strerror}") from failure

    def differs(self, path: str, settings: GroupSettings) -> bool:
        """Whether the kernel has other settings for a group that is there. What cannot be read is not compared."""
        for name, wanted in files(settings, unified=self.unified).items():
            controller, _, file = name.rpartition("/")
            try:
                found = (self._root / controller / path.lstrip("/") / file).read_text().strip()
            except OSError:
                continue
            if not _means(file, found, wanted):
                return True
        return False

    def remove(self, path: str) -> None:
        """Remove a group and the empty ones in it from every tree. What is still in use stays."""
        for tree in self._trees():
            for folder, _, _ in os.walk(tree / path.lstrip("/"), topdown=False):
                _remove(Path(folder))

    def remove_if_empty(self, path: str) -> None:
        """Remove a group from every tree where there is nothing in it."""
        for tree in self._trees():
            _remove(tree / path.lstrip("/"))

    def children(self, path: str) -> set[str]:
        """The names of the groups in a group, of all trees."""
        found: set[str] = set()
        for tree in self._trees():
            try:
                found |= {entry.name for entry in (tree / path.lstrip("/")).iterdir() if entry.is_dir()}
            except FileNotFoundError:
                continue
        return found

    def _hand_down(self, path: str) -> None:
        folder = self._root
        wanted = [name for name in (folder / "cgroup.controllers").read_text().split() if name in HANDED_ON]
        for name in path.strip("/").split("/"):
            # One that cannot be handed on (it has processes of its own) is missed when the file is written.
            for controller in wanted:
                _try_to_write(folder / "cgroup.subtree_control", f"+{controller}")
            folder /= name
            folder.mkdir(exist_ok=True)

    def _folders(self, path: str, controllers: tuple[str, ...]) -> Iterator[Path]:
        if self.unified:
            yield self._root / path.lstrip("/")
            return
        for controller in controllers:
            if controller in NEEDED or (self._root / controller).is_dir():
                yield self._root / controller / path.lstrip("/")

    def _trees(self) -> list[Path]:
        if self.unified or not self._root.is_dir():
            return [self._root]
        return [entry for entry in self._root.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _means(file: str, found: str, written: str) -> bool:
    """Whether the kernel says this where that was written: it counts memory in pages, and knows a largest number."""
    if found == written or not file.startswith("memory."):
        return found == written
    if not (found.isdigit() and written.lstrip("-").isdigit()):
        return False
    if written == NO_LIMIT:
        return int(found) >= SURELY_NO_LIMIT
    return int(found) == int(written) // PAGE_BYTES * PAGE_BYTES


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # Not there, or not empty: then it is not ours to remove.
        return


def _try_to_write(path: Path, content: str) -> None:
    try:
        path.write_text(content)
    except OSError:
        return
