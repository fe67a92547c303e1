"""What building a specification needs from the host: the image's accounts, and devices.

Synchronous. A snapshot is mounted to read two files of it once per image, as images don't change, and to copy what the
image declares to be volumes.
"""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.image_volumes import mount_view
from navarch.runtime_shim.containerd.rootpath import resolved
from navarch.runtime_shim.containerd.spec import Device
from navarch.runtime_shim.containerd.users import Accounts
from navarch.runtime_shim.errors import InvalidArgument, RuntimeFailure
from navarch.services.base import mounting

# No real passwd file comes near; a hostile one shall not fill the memory.
ACCOUNTS_BYTES = 4 << 20
ROOT_PREFIX = "rootfs-"


def read_accounts(mounts: Iterable[containerd_types.Mount], scratch: Path) -> Accounts:
    """The accounts of an image, from a snapshot of it. Raises RuntimeFailure."""
    with mounted(mounts, scratch) as root:
        return Accounts(_read_inside(root, "etc/passwd"), _read_inside(root, "etc/group"))


def copy_folders(mounts: Iterable[containerd_types.Mount], scratch: Path, targets: Mapping[str, Path]) -> None:
    """Folders of an image, by path, into new folders of the host, empty where there is none. Raises RuntimeFailure."""
    with mounted(mounts, scratch) as root:
        for name, target in targets.items():
            target.mkdir(parents=True)
            source = resolved(root, name)
            if source is not None and source.is_dir():
                subprocess.run(["cp", "-a", "--", f"{source}/.", str(target)], check=True, capture_output=True)


def devices(config: criv1.ContainerConfig) -> tuple[Device, ...]:
    """The device nodes of a container: those it names, folders standing for what they hold; all when privileged."""
    found: dict[str, Device] = {}
    if config.linux.security_context.privileged:
        for device in _devices_below(Path("/dev"), "/dev", "rwm"):
            found[device.path] = device
    for wanted in config.devices:
        source = Path(wanted.host_path)
        if not source.exists():
            raise InvalidArgument(f"device {wanted.host_path} does not exist on this host")
        for device in _devices_below(source, wanted.container_path or wanted.host_path, wanted.permissions or "rwm"):
            found[device.path] = device
    return tuple(found.values())


@contextmanager
def mounted(mounts: Iterable[containerd_types.Mount], scratch: Path, *, writable: bool = False) -> Iterator[Path]:
    """A snapshot, mounted for as long as this takes. Raises RuntimeFailure."""
    scratch.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix=ROOT_PREFIX, dir=scratch))
    try:
        mount_view(mounts, root, writable=writable)
        yield root
    except (OSError, subprocess.CalledProcessError) as failure:
        raise RuntimeFailure(f"look into the image: {failure}") from None
    finally:
        mounting.unmount(root)
        root.rmdir()


def clear(scratch: Path) -> None:
    """Take away mounts that a shim left which was killed meanwhile. For a start: nobody else may use them."""
    for root in scratch.glob(f"{ROOT_PREFIX}*"):
        mounting.unmount(root)
        root.rmdir()


def _read_inside(root: Path, name: str) -> str:
    """A file of a foreign tree; "" where there is none, or one of no proper size."""
    path = resolved(root, name)
    if path is None or not path.is_file() or path.stat().st_size > ACCOUNTS_BYTES:
        return ""
    return path.read_text(errors="replace")


def _devices_below(source: Path, path: str, permissions: str) -> Iterator[Device]:
    status = source.stat()
    if stat.S_ISDIR(status.st_mode):
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            # Terminals, shared memory and the like are the container's own.
            skipped = entry.name in ("pts", "shm", "fd", "mqueue", "console", "lxc", ".lxc", ".udev", "hugepages")
            if not entry.is_symlink() and not skipped:
                yield from _devices_below(Path(entry.path), f"{path}/{entry.name}", permissions)
        return
    for kind, matches in (("c", stat.S_ISCHR), ("b", stat.S_ISBLK)):
        if matches(status.st_mode):
            numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
            mode = stat.S_IMODE(status.st_mode)
            yield Device(path, kind, *numbers, mode, status.st_uid, status.st_gid, permissions)
