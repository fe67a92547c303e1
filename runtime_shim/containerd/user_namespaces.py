"""User namespaces (KEP-127): which ids of the host a Pod's ids are, and who may ask for that. Pure.

A Pod either is in the host's user namespace or has one of its own, with ids from 0 on that stand for as many of the
host from some other number on, users and groups alike. All its containers are in it, and what it shares with the host
(network, processes, IPC) it can't have: that would be owned by somebody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument

# The topmost number means "none".
HOST_IDS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Mapping:
    """Ids 0 to length - 1 of the Pod are those from host_id on of the host."""

    host_id: int
    length: int

    def host(self, inner: int) -> int | None:
        """The host's number of an id; None for one that the Pod doesn't have."""
        return self.host_id + inner if 0 <= inner < self.length else None

    def document(self) -> list[dict[str, int]]:
        """As the OCI specification has it."""
        return [{"containerID": 0, "hostID": self.host_id, "size": self.length}]

    def __str__(self) -> str:
        return f"0:{self.host_id}:{self.length}"


def mapping_of(options: criv1.NamespaceOption) -> Mapping | None:
    """What a sandbox or container asks for; None: the host's user namespace. Raises InvalidArgument."""
    if not options.HasField("userns_options"):
        return None
    asked = options.userns_options
    mode = criv1.NamespaceMode.Name(asked.mode)
    uids, gids = _checked("UID", asked.uids), _checked("GID", asked.gids)
    if asked.mode == criv1.NamespaceMode.NODE:
        if uids or gids:
            raise InvalidArgument(f"user namespace: mode {mode} can't have UID or GID mappings")
        return None
    if asked.mode != criv1.NamespaceMode.POD:
        raise InvalidArgument(f"user namespace: unsupported mode {mode}")
    if uids is None or gids is None:
        raise InvalidArgument(f"user namespace: mode {mode} needs UID and GID mappings")
    if uids != gids:
        raise InvalidArgument(f"user namespace: the mappings of UIDs ({uids}) and GIDs ({gids}) must be equal")
    return uids


def sandbox_mapping(config: criv1.PodSandboxConfig) -> Mapping | None:
    """Of a sandbox. Raises InvalidArgument, also where the namespace can't be had together with others of the host."""
    options = config.linux.security_context.namespace_options
    mapping = mapping_of(options)
    for kind in ("network", "pid", "ipc"):
        if mapping is not None and getattr(options, kind) == criv1.NamespaceMode.NODE:
            raise InvalidArgument(f"user namespace: it can't be had together with the host's {kind} namespace")
    return mapping


def check_container(config: criv1.ContainerConfig, sandbox: criv1.PodSandboxConfig) -> None:
    """Refuse a container that asks for something else than its sandbox has. Raises InvalidArgument."""
    options, mapping = config.linux.security_context.namespace_options, sandbox_mapping(sandbox)
    if options.HasField("userns_options") and (asked := mapping_of(options)) != mapping:
        its, theirs = asked or "the host's", mapping or "the host's"
        raise InvalidArgument(f"user namespace: the container's ({its}) is not that of its sandbox ({theirs})")
    if mapping is not None and options.pid == criv1.NamespaceMode.NODE:
        raise InvalidArgument("user namespace: it can't be had together with the host's pid namespace")


def check_ids(mapping: Mapping | None, uid: int, gids: Sequence[int]) -> None:
    """Refuse to run as somebody whom the namespace doesn't have. Raises InvalidArgument."""
    for what, number in (("user", uid), *(("group", gid) for gid in gids)):
        if mapping is not None and mapping.host(number) is None:
            raise InvalidArgument(f"{what} {number} is not in the user namespace: it has 0 to {mapping.length - 1}")


def _checked(what: str, lines: Sequence[criv1.IDMapping]) -> Mapping | None:
    if not lines:
        return None
    if len(lines) > 1:
        raise InvalidArgument(f"user namespace: {what} mapping: only one line is supported, not {len(lines)}")
    line = lines[0]
    if line.length < 1:
        raise InvalidArgument(f"user namespace: {what} mapping: invalid length {line.length}")
    if line.container_id != 0:
        raise InvalidArgument(f"user namespace: {what} mapping: it must begin with 0, not {line.container_id}")
    if line.host_id + line.length > HOST_IDS:
        raise InvalidArgument(f"user namespace: {what} mapping: {line.host_id} + {line.length} is more than there are")
    return Mapping(line.host_id, line.length)
