"""What building a specification needs from the host: the image's accounts, devices, sources of mounts.

All of it is quick and synchronous, also the mount of a snapshot to read two files of it, which happens once per
image: images don't change.
"""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.spec import Device
from navarch.runtime_shim.containerd.users import Accounts
from navarch.runtime_shim.errors import InvalidArgument, RuntimeFailure
from navarch.services.base import mounting

# No real passwd file comes near; a hostile one shall not fill the memory.
ACCOUNTS_BYTES = 4 << 20
LINKS_FOLLOWED = 40
_FLAGS = {"ro": mounting.MS_RDONLY, "rbind": mounting.MS_BIND | mounting.MS_REC, "bind": mounting.MS_BIND}


def read_accounts(mounts: Iterable[containerd_types.Mount], scratch: Path) -> Accounts:
    """The accounts of an image, from a snapshot of it. Raises RuntimeFailure."""
    with _mounted(mounts, scratch) as root:
        return Accounts(_read_inside(root, "etc/passwd"), _read_inside(root, "etc/group"))


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


def prepare_mounts(config: criv1.ContainerConfig) -> criv1.ContainerConfig:
    """The configuration with the mounts' sources resolved; a source that is missing is made, as a folder."""
    prepared = criv1.ContainerConfig()
    prepared.CopyFrom(config)
    for mount in prepared.mounts:
        if not mount.host_path:
            continue
        if not os.path.exists(mount.host_path):
            try:
                os.makedirs(mount.host_path, mode=0o755)
            except OSError as failure:
                raise InvalidArgument(f"mount of {mount.container_path}: {mount.host_path}: {failure}") from None
        mount.host_path = os.path.realpath(mount.host_path)
    return prepared


def seccomp(security: criv1.LinuxContainerSecurityContext) -> dict[str, Any] | None:
    """The filter that a Localhost profile names; RuntimeDefault has none yet. Raises InvalidArgument."""
    if security.seccomp.profile_type != criv1.SecurityProfile.ProfileType.Localhost:
        return None
    path = security.seccomp.localhost_ref
    try:
        profile: dict[str, Any] = orjson.loads(Path(path).read_bytes())
    except (OSError, orjson.JSONDecodeError) as failure:
        raise InvalidArgument(f"seccomp profile {path}: {failure}") from None
    return profile


@contextmanager
def _mounted(mounts: Iterable[containerd_types.Mount], scratch: Path) -> Iterator[Path]:
    scratch.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="rootfs-", dir=scratch))
    try:
        for mount in mounts:
            flags, data = mounting.MS_RDONLY, []
            for option in mount.options:
                if option in _FLAGS:
                    flags |= _FLAGS[option]
                elif option != "rw":
                    data.append(option)
            mounting.mount(mount.source, root, mount.type, flags, ",".join(data))
        yield root
    except OSError as failure:
        raise RuntimeFailure(f"look into the image: {failure}") from None
    finally:
        mounting.unmount(root)
        root.rmdir()


def _read_inside(root: Path, name: str) -> str:
    """A file of a foreign tree, its symbolic links taken relative to that tree; "" where there is none."""
    parts = name.split("/")[::-1]
    resolved: list[str] = []
    for _ in range(LINKS_FOLLOWED):
        while parts:
            part = parts.pop()
            if part == "..":
                resolved = resolved[:-1]
            elif part not in ("", "."):
                resolved.append(part)
            path = root.joinpath(*resolved)
            if path.is_symlink():
                target = os.readlink(path)
                resolved = [] if target.startswith("/") else resolved[:-1]
                parts += target.split("/")[::-1]
                break
        else:
            break
    else:
        return ""
    if not path.is_file() or path.is_symlink() or path.stat().st_size > ACCOUNTS_BYTES:
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
