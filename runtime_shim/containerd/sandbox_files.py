"""What a sandbox consists of on the host: pinned namespaces, /dev/shm, hosts, hostname and resolv.conf.

Synchronous. `build` must run in a thread of its own, see `linux.in_doomed_thread`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors, records
from navarch.runtime_shim.containerd import linux
from navarch.runtime_shim.containerd.user_namespaces import sandbox_mapping
from navarch.services.api.quantity import Quantity
from navarch.services.base import mounting

# The namespaces that a sandbox may pin, by the names of their files.
PINNED = ("net", "ipc", "uts", "pid", "user")
SHM_OPTIONS = "mode=1777,size=67108864"
SHM_FLAGS = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
# Bits; what the plugin's settings can hold.
UNLIMITED_BURST = (1 << 32) - 1
# As much as Linux takes.
HOSTNAME_BYTES = 64
HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"


def check_config(config: criv1.PodSandboxConfig) -> None:
    """Refuse what can't be served. Raises InvalidArgument or Unsupported."""
    if len(config.hostname.encode()) > HOSTNAME_BYTES:
        raise errors.InvalidArgument(f"hostname {config.hostname!r} has more than {HOSTNAME_BYTES} bytes")
    security = config.linux.security_context
    options = security.namespace_options
    if criv1.NamespaceMode.TARGET in (options.pid, options.network, options.ipc):
        raise errors.InvalidArgument("a sandbox can't join the namespaces of a container")
    sandbox_mapping(config)
    for name in config.linux.sysctls:
        check_sysctl(name, config)


def check_sysctl(name: str, config: criv1.PodSandboxConfig) -> None:
    """Refuse parameters of the host: only those of the sandbox's own namespaces may be set."""
    dotted = name.replace("/", ".")
    options = config.linux.security_context.namespace_options
    if dotted.startswith("net.") or dotted == "kernel.domainname":
        owned = options.network != criv1.NamespaceMode.NODE
    else:
        prefixes = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
        owned = dotted.startswith(prefixes) and options.ipc != criv1.NamespaceMode.NODE
    if not owned or ".." in name.split("/"):
        raise errors.InvalidArgument(f"sysctl {name} is not of a namespace of this sandbox")


def on_host_network(config: criv1.PodSandboxConfig) -> bool:
    """Whether the Pod shares the host's network, and with it its name."""
    return config.linux.security_context.namespace_options.network == criv1.NamespaceMode.NODE


def pinned_kinds(config: criv1.PodSandboxConfig) -> tuple[str, ...]:
    """Which namespaces this sandbox has of its own."""
    host_ipc = config.linux.security_context.namespace_options.ipc == criv1.NamespaceMode.NODE
    network = () if on_host_network(config) else ("net", "uts")
    owner = ("user",) if sandbox_mapping(config) else ()
    return (*owner, *network, *(() if host_ipc else ("ipc",)), *(("pid",) if shares_pid(config) else ()))


def shares_pid(config: criv1.PodSandboxConfig) -> bool:
    """Whether the containers see each other's processes. Who says nothing of namespaces asks for nothing."""
    security = config.linux.security_context
    return security.HasField("namespace_options") and security.namespace_options.pid == criv1.NamespaceMode.POD


def hostname(config: criv1.PodSandboxConfig) -> str:
    """What programs in the sandbox are told: the host's name where nobody gives another."""
    return os.uname().nodename if on_host_network(config) else config.hostname or os.uname().nodename


def network_capabilities(config: criv1.PodSandboxConfig) -> dict[str, object]:
    """What the Pod asks of plugins that offer it, by the names of the CNI conventions and of containerd's plugin."""
    ports = [
        {
            "hostPort": port.host_port,
            "containerPort": port.container_port,
            "protocol": criv1.Protocol.Name(port.protocol).lower(),
            **({"hostIP": port.host_ip} if port.host_ip else {}),
        }
        for port in config.port_mappings
        if port.host_port > 0
    ]
    dns = config.dns_config
    settings = {"servers": list(dns.servers), "searches": list(dns.searches), "options": list(dns.options)}
    return {
        "portMappings": ports,
        "dns": settings if any(settings.values()) else None,
        "bandwidth": bandwidth(config.annotations),
        "cgroupPath": config.linux.cgroup_parent,
        "io.kubernetes.cri.pod-annotations": dict(config.annotations),
    }


def bandwidth(annotations: Mapping[str, str]) -> dict[str, int]:
    """The Pod's limits of its traffic, in bits a second, from its annotations. Raises InvalidArgument."""
    limits = {}
    for direction in ("ingress", "egress"):
        if text := annotations.get(f"kubernetes.io/{direction}-bandwidth"):
            try:
                limits[f"{direction}Rate"] = Quantity.parse(text).value()
            except ValueError as failure:
                raise errors.InvalidArgument(f"{direction} bandwidth {text!r}: {failure}") from None
            # The plugin asks for one; nobody has said so, so there is no limit to it.
            limits[f"{direction}Burst"] = UNLIMITED_BURST
    return limits


def build(folder: Path, config: criv1.PodSandboxConfig) -> None:
    """Namespaces, but for that of processes, and /dev/shm. The thread is of no further use.

    Raises RuntimeFailure, OSError.
    """
    mapping = sandbox_mapping(config)
    kinds = tuple(kind for kind in pinned_kinds(config) if kind not in ("pid", "user"))
    if "ipc" in kinds:
        shm = folder / "shm"
        shm.mkdir(exist_ok=True)
        owner = f",uid={mapping.host_id},gid={mapping.host_id}" if mapping else ""
        mounting.mount("shm", shm, "tmpfs", SHM_FLAGS, SHM_OPTIONS + owner)
    if mapping is not None:
        linux.pin_owned_namespaces(folder, mapping, kinds, hostname(config), config.linux.sysctls)
    elif kinds:
        linux.pin_namespaces(folder, kinds, hostname(config), config.linux.sysctls)


def write_files(folder: Path, config: criv1.PodSandboxConfig, ips: tuple[str, ...]) -> None:
    """hosts, hostname, resolv.conf: for containers whose configuration brings none of their own."""
    name = hostname(config)
    hosts = _read("/etc/hosts") if on_host_network(config) else HOSTS + "".join(f"{ip}\t{name}\n" for ip in ips)
    texts = {
        "hostname": f"{name}\n",
        "hosts": hosts,
        "resolv.conf": resolv_conf(config.dns_config) or _read("/etc/resolv.conf"),
    }
    mapping = sandbox_mapping(config)
    for file, text in texts.items():
        records.write_atomically(folder / file, text.encode())
        if mapping is not None:
            os.chown(folder / file, mapping.host_id, mapping.host_id)


def resolv_conf(dns: criv1.DNSConfig) -> str:
    """The file of these settings; "" for none."""
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "".join(f"{line}\n" for line in lines)


def container_files(folder: Path, config: criv1.PodSandboxConfig) -> dict[str, str]:
    """Where containers of the sandbox see what: host path by container path."""
    shm = str(folder / "shm") if "ipc" in pinned_kinds(config) else "/dev/shm"
    names = ("hosts", "hostname", "resolv.conf")
    return {**{f"/etc/{name}": str(folder / name) for name in names}, "/dev/shm": shm}


def container_namespaces(folder: Path, config: criv1.PodSandboxConfig) -> dict[str, str]:
    """What containers of the sandbox join: path by OCI type."""
    types = {"net": "network", "ipc": "ipc", "uts": "uts", "pid": "pid", "user": "user"}
    return {types[kind]: str(folder / kind) for kind in pinned_kinds(config)}


def verbose_info(record: records.SandboxRecord, folder: Path) -> dict[str, str]:
    """What a person who debugs wants to see beyond the contract's fields."""
    namespaces = {kind: str(folder / kind) for kind in pinned_kinds(record.config)}
    info = {
        "pid": record.pid,
        "runtimeSpec": {"linux": {"namespaces": [{"type": k, "path": p} for k, p in namespaces.items()]}},
        "cniResult": record.network.get("result"),
        "config": record.document()["config"],
    }
    return {"info": orjson.dumps(info).decode()}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
