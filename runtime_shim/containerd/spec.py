"""The OCI runtime specification of a container, from CRI's configuration, the image and the sandbox.

Pure: everything looked up on the host (users, devices, what this process may grant) comes in `Inputs`.
Field by field it does what containerd's own CRI plugin does, so that Pods behave alike under either.
"""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.images.model import ImageConfig
from navarch.runtime_shim.containerd.linux import CAPABILITIES
from navarch.runtime_shim.containerd.user_namespaces import Mapping as IdMapping
from navarch.runtime_shim.containerd.users import User
from navarch.runtime_shim.errors import InvalidArgument

SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
RESOURCES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
OCI_VERSION = "1.0.2"

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_CAPABILITIES = frozenset(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
        "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    )
)  # fmt: skip
# Annotations that all CRI runtimes write, for the OCI runtimes that read them.
ANNOTATION_SANDBOX = "io.kubernetes.cri.sandbox-id"
ANNOTATION_KIND = "io.kubernetes.cri.container-type"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the host. kind: "c" or "b"."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the host, the image and the sandbox contribute.

    namespaces: path by OCI type of those to join; a type of `OWN_NAMESPACES` that is neither here nor in
    host_namespaces is made new. files: host path by container path of hosts, hostname, resolv.conf, shm.
    """

    container_id: str
    sandbox_id: str
    hostname: str
    image: ImageConfig
    user: User
    cgroup_path: str
    permitted_capabilities: frozenset[str]
    namespaces: Mapping[str, str] = field(default_factory=dict)
    host_namespaces: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    oom_score_floor: int = -1000
    seccomp: Document | None = None
    # "" each: none.
    apparmor_profile: str = ""
    process_label: str = ""
    mount_label: str = ""
    unified_cgroups: bool = False
    controllers: frozenset[str] = frozenset()
    # Of the user namespace, where `namespaces` has one.
    mapping: IdMapping | None = None
    # Whether the runtime can mount a volume with other owners than its files have.
    idmap: bool = False


# Of terminals, in every distribution.
TTY_GROUP = 5
OWN_NAMESPACES = ("mount", "pid", "ipc", "uts", "network")


def build(config: criv1.ContainerConfig, inputs: Inputs) -> Document:
    """The specification as a JSON object. Raises InvalidArgument."""
    security = config.linux.security_context
    linux: Document = {
        "cgroupsPath": inputs.cgroup_path,
        "namespaces": _namespaces(inputs, security.privileged),
        "resources": _resources(config, inputs),
        # None given means none: the kubelet names the usual ones itself, unless a Pod asks for procMount Unmasked.
        "maskedPaths": [] if security.privileged else list(security.masked_paths),
        "readonlyPaths": [] if security.privileged else list(security.readonly_paths),
        "devices": [_device(device) for device in inputs.devices],
        **id_mappings(inputs.mapping),
    }
    if propagation := _rootfs_propagation(config.mounts):
        linux["rootfsPropagation"] = propagation
    if inputs.seccomp is not None and not security.privileged:
        linux["seccomp"] = inputs.seccomp
    if inputs.mount_label:
        linux["mountLabel"] = inputs.mount_label
    return {
        "ociVersion": OCI_VERSION,
        "process": _process(config, inputs),
        "root": {"path": "rootfs", "readonly": security.readonly_rootfs},
        "mounts": _mounts(config, inputs),
        "annotations": {
            **config.annotations,
            ANNOTATION_KIND: "container",
            ANNOTATION_SANDBOX: inputs.sandbox_id,
            "io.kubernetes.cri.container-name": config.metadata.name,
        },
        "linux": linux,
    }


def id_mappings(mapping: IdMapping | None) -> Document:
    """What a user namespace adds to the specification besides its path; runc wants both."""
    return {"uidMappings": mapping.document(), "gidMappings": mapping.document()} if mapping else {}


def command_line(config: criv1.ContainerConfig, image: ImageConfig) -> list[str]:
    """command replaces the image's entrypoint and its arguments; args alone replaces the arguments."""
    entrypoint = list(config.command) or list(image.entrypoint)
    arguments = list(config.args) or ([] if config.command else list(image.cmd))
    if not entrypoint + arguments:
        raise InvalidArgument("no command specified: neither the container nor its image names one")
    return entrypoint + arguments


def environment(config: criv1.ContainerConfig, image: ImageConfig, hostname: str, home: str) -> list[str]:
    """The image's variables under those of the container, one entry a name."""
    variables: dict[str, str] = {}
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}", f"HOME={home}", *(["TERM=xterm"] if config.tty else [])]
    for entry in (*defaults, *image.env):
        name, _, value = entry.partition("=")
        variables[name] = value
    for given in config.envs:
        variables[given.key] = given.value.decode(errors="replace")
    return [f"{name}={value}" for name, value in variables.items()]


def capabilities(security: criv1.LinuxContainerSecurityContext, permitted: frozenset[str]) -> Document:
    """The capability sets. "ALL" means all that this process can grant; drops win over "ALL" added."""
    asked = security.capabilities
    granted = set(permitted if security.privileged else DEFAULT_CAPABILITIES & permitted)
    added, dropped = _names(asked.add_capabilities), _names(asked.drop_capabilities)
    if not security.privileged:
        if "CAP_ALL" in added:
            granted = set(permitted)
        if "CAP_ALL" in dropped:
            granted = set()
        granted = (granted | (added - {"CAP_ALL"})) - dropped
    ambient = sorted(_names(asked.add_ambient_capabilities))
    names = sorted(granted | set(ambient))
    return {
        "bounding": names,
        "effective": names,
        "permitted": names,
        **({"inheritable": ambient, "ambient": ambient} if ambient else {}),
    }


def linux_resources(resources: criv1.LinuxContainerResources, controllers: frozenset[str], unified: bool) -> Document:
    """CRI's limits as the specification has them. Limits that this host can't set are left out."""
    cpu: Document = {}
    for key, value in (
        ("shares", resources.cpu_shares),
        ("quota", resources.cpu_quota),
        ("period", resources.cpu_period),
    ):
        if value:
            cpu[key] = value
    if resources.cpuset_cpus:
        cpu["cpus"] = resources.cpuset_cpus
    if resources.cpuset_mems:
        cpu["mems"] = resources.cpuset_mems
    memory: Document = {}
    if limit := resources.memory_limit_in_bytes:
        memory["limit"] = limit
        if "memory.swap" in controllers:
            # Both together; the same figure twice means no swap.
            memory["swap"] = resources.memory_swap_limit_in_bytes or limit
    document: Document = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    if resources.hugepage_limits and "hugetlb" in controllers:
        document["hugepageLimits"] = [
            {"pageSize": limit.page_size, "limit": limit.limit} for limit in resources.hugepage_limits
        ]
    if unified and resources.unified:
        document["unified"] = dict(resources.unified)
    return document


def exec_process(process: Document, command: Iterable[str], tty: bool) -> Document:
    """A further process in a container, from the container's own one."""
    document = {**process, "args": list(command), "terminal": tty}
    document.pop("consoleSize", None)
    # Whoever may exec asks for the container's identity, not for its place in line to be killed.
    document.pop("oomScoreAdj", None)
    if tty and not any(entry.startswith("TERM=") for entry in process["env"]):
        document["env"] = [*process["env"], "TERM=xterm"]
    return document


def _process(config: criv1.ContainerConfig, inputs: Inputs) -> Document:
    security = config.linux.security_context
    user = inputs.user
    confined = {"apparmorProfile": inputs.apparmor_profile, "selinuxLabel": inputs.process_label}
    return {
        **{key: value for key, value in confined.items() if value},
        "terminal": config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": command_line(config, inputs.image),
        "env": environment(config, inputs.image, inputs.hostname, user.home),
        "cwd": config.working_dir or inputs.image.working_dir or "/",
        "capabilities": capabilities(security, inputs.permitted_capabilities),
        "noNewPrivileges": security.no_new_privs,
        "oomScoreAdj": max(inputs.oom_score_floor, min(1000, config.linux.resources.oom_score_adj)),
    }


def _names(values: Iterable[str]) -> set[str]:
    """Capabilities as the specification names them; Kubernetes leaves out "CAP_"."""
    names = {value.upper() if value.upper().startswith("CAP_") else f"CAP_{value.upper()}" for value in values}
    if unknown := names - {f"CAP_{name}" for name in CAPABILITIES} - {"CAP_ALL"}:
        raise InvalidArgument(f"unknown capability {sorted(unknown)[0]}")
    return names


def _namespaces(inputs: Inputs, privileged: bool) -> list[Document]:
    namespaces: list[Document] = []
    for kind in ("user", *OWN_NAMESPACES) if inputs.mapping else OWN_NAMESPACES:
        if path := inputs.namespaces.get(kind):
            namespaces.append({"type": kind, "path": path})
        elif kind not in inputs.host_namespaces:
            namespaces.append({"type": kind})
    if inputs.unified_cgroups and not privileged:
        namespaces.append({"type": "cgroup"})
    return namespaces


def _resources(config: criv1.ContainerConfig, inputs: Inputs) -> Document:
    document = linux_resources(config.linux.resources, inputs.controllers, inputs.unified_cgroups)
    if config.linux.security_context.privileged:
        rules: list[Document] = [{"allow": True, "access": "rwm"}]
    else:
        # runc adds what every container may use: null, zero, full, random, urandom, tty, its terminals.
        rules = [{"allow": False, "access": "rwm"}]
        for device in inputs.devices:
            numbers = {"type": device.kind, "major": device.major, "minor": device.minor}
            rules.append({"allow": True, "access": device.permissions, **numbers})
    document["devices"] = rules
    return document


def _device(device: Device) -> Document:
    return {
        "path": device.path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _mounts(config: criv1.ContainerConfig, inputs: Inputs) -> list[Document]:
    """The kernel's file systems; then the sandbox's files and the container's volumes, outer before inner."""
    privileged = config.linux.security_context.privileged
    access = "rw" if privileged else "ro"

    def fresh(destination: str, kind: str, *options: str) -> Document:
        return {"destination": destination, "type": kind, "source": kind, "options": list(options)}

    terminals = () if inputs.mapping and inputs.mapping.host(TTY_GROUP) is None else (f"gid={TTY_GROUP}",)
    kernel = [
        fresh("/proc", "proc", "nosuid", "noexec", "nodev"),
        fresh("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        fresh("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *terminals),
        fresh("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        fresh("/sys", "sysfs", "nosuid", "noexec", "nodev", access),
        fresh("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access),
    ]
    taken = {posixpath.normpath(mount.container_path) for mount in config.mounts}
    binds: list[Document] = []
    for destination, source in inputs.files.items():
        if destination not in taken:
            mode = "ro" if config.linux.security_context.readonly_rootfs and destination.startswith("/etc/") else "rw"
            binds.append(_bind(source, destination, "rprivate", mode))
    if "/dev" in taken:
        # The host's has all that ours would have.
        taken |= {mount["destination"] for mount in kernel if mount["destination"].startswith("/dev/")}
    binds += (_volume(mount, inputs.idmap) for mount in config.mounts)
    binds.sort(key=lambda mount: posixpath.normpath(mount["destination"]).count("/"))
    return [mount for mount in kernel if mount["destination"] not in taken] + binds


PROPAGATION = {
    criv1.MountPropagation.PROPAGATION_PRIVATE: "rprivate",
    criv1.MountPropagation.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    criv1.MountPropagation.PROPAGATION_BIDIRECTIONAL: "rshared",
}


def _volume(mount: criv1.Mount, idmap: bool) -> Document:
    is_mapped = bool(mount.uidMappings or mount.gidMappings)
    if is_mapped and not idmap:
        raise InvalidArgument(
            f"mount of {mount.container_path}: to map ids needs a runtime with id-mapped mounts, as runc 1.2 or later, "
            "and Linux 5.12 or later"
        )
    if mount.recursive_read_only and not mount.readonly:
        raise InvalidArgument(f"mount of {mount.container_path}: recursively read-only also needs readonly")
    if mount.recursive_read_only and mount.propagation != criv1.MountPropagation.PROPAGATION_PRIVATE:
        raise InvalidArgument(f"mount of {mount.container_path}: recursively read-only needs private propagation")
    if not mount.container_path.startswith("/"):
        raise InvalidArgument(f"mount of {mount.container_path!r}: the path must be absolute")
    mode = "rro" if mount.recursive_read_only else "ro" if mount.readonly else "rw"
    bind = _bind(mount.host_path, mount.container_path, PROPAGATION[mount.propagation], mode)
    if is_mapped:
        bind["options"].append("idmap")
        bind |= {"uidMappings": _id_lines(mount.uidMappings), "gidMappings": _id_lines(mount.gidMappings)}
    return bind


def _id_lines(lines: Iterable[criv1.IDMapping]) -> list[Document]:
    return [{"containerID": line.container_id, "hostID": line.host_id, "size": line.length} for line in lines]


def _bind(source: str, destination: str, *options: str) -> Document:
    return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", *options]}


def _rootfs_propagation(mounts: Iterable[criv1.Mount]) -> str:
    asked = {PROPAGATION[mount.propagation] for mount in mounts}
    return next((kind for kind in ("rshared", "rslave") if kind in asked), "")
