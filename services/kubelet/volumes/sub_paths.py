"""Parts of volumes, by paths that nobody can lead astray.

The processes of a Pod can change a volume while a container of it is being made: a directory that was there when it
was looked at may be a link to the node's own files a moment later. So each part of a path is opened from the directory
before it, following no link, and what was opened is bound to a place of ours by its descriptor, not by its name. Only
that place is given to the container.
"""

import os
import stat
from pathlib import Path

from navarch.services.base import mounting

# An environment can't have more.
LARGEST_FILE_BYTES = 1 << 20
_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Astray(Exception):
    """A path leads out of its volume, or through something that is no directory."""


def make_directory(volume: Path, path: str, mode: int) -> None:
    """Make the directories of a path in a volume with the given mode. Raises Astray or OSError."""
    base = Path(os.path.realpath(volume))
    descriptor = os.open(base, _WALK | os.O_DIRECTORY)
    try:
        # What is there already may have links, as long as they stay inside.
        present, missing = _split(base, path)
        for part in present.parts:
            descriptor = _step(descriptor, part)
        for part in missing:
            try:
                os.mkdir(part, 0o700, dir_fd=descriptor)
            except FileExistsError:
                descriptor = _step(descriptor, part)
                continue
            descriptor = _step(descriptor, part)
            # Through the descriptor: the name may be another's by now.
            os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def _split(base: Path, path: str) -> tuple[Path, list[str]]:
    """The longest part of a path that exists, relative and without links, and what is missing after it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count in range(len(parts), -1, -1):
        target = base.joinpath(*parts[:count])
        if target.exists():
            return _relative(base, target), parts[count:]
        if target.is_symlink():
            raise Astray(f"{target} is a link to nothing")
    raise Astray(f"{base} is gone")


def _relative(base: Path, target: Path) -> Path:
    real = Path(os.path.realpath(target))
    if real != base and base not in real.parents:
        raise Astray(f"{target} leads out of {base}")
    return real.relative_to(base)


def bind(volume: Path, path: str, place: Path) -> None:
    """Have a file or directory of a volume mounted at a place, which is made. Again with the same: nothing changes.

    Raises Astray or OSError.
    """
    descriptor = _open(Path(os.path.realpath(volume)), path)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISLNK(found.st_mode):
            raise Astray(f"{path} became a link")
        if _is_same(place, found) and mounting.mount_points(f"{place}/"):
            return
        mounting.unmount(place)
        _make_place(place, directory=stat.S_ISDIR(found.st_mode))
        mounting.mount(f"/proc/self/fd/{descriptor}", place, flags=mounting.MS_BIND)
    finally:
        os.close(descriptor)


def _open(base: Path, path: str) -> int:
    """A descriptor that only says where it is."""
    descriptor = os.open(base, _WALK | os.O_DIRECTORY)
    try:
        for part in _relative(base, base / path).parts:
            descriptor = _step(descriptor, part)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(volume: Path, path: str) -> bytes:
    """What is in a file of a volume. Raises Astray, or OSError."""
    base = Path(os.path.realpath(volume))
    relative = path.strip("/")
    if not (base / relative).exists():
        raise FileNotFoundError(path)
    descriptor = _open(base, relative)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Astray(f"{path} is not a file")
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE_BYTES:
        raise Astray(f"{path} has more than {LARGEST_FILE_BYTES} bytes")
    return content


def inside(volume: Path, path: str) -> Path:
    """Where a path of a volume leads, for who cannot bind. Raises Astray."""
    base = Path(os.path.realpath(volume))
    return base / _relative(base, base / path)


def _step(descriptor: int, part: str) -> int:
    """Open an entry of a directory, and close the directory."""
    try:
        opened = os.open(part, _WALK, dir_fd=descriptor)
    except OSError as failure:
        raise Astray(f"{part}: {failure.strerror}") from failure
    if stat.S_ISLNK(os.fstat(opened).st_mode):
        os.close(opened)
        raise Astray(f"{part} became a link")
    os.close(descriptor)
    return opened


def _is_same(place: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(place.lstat(), found)
    except FileNotFoundError:
        return False


def _make_place(place: Path, *, directory: bool) -> None:
    place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if place.exists() and place.is_dir() != directory:
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink()
    if directory:
        place.mkdir(mode=0o750, exist_ok=True)
    else:
        place.touch(mode=0o640)
