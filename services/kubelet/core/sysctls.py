"""Which kernel parameters Pods may set: those that are a Pod's own and do no harm, and those that the node allows.

Source: Kubernetes' documentation of sysctls. All of the safe ones are there since Linux 4.15, which every supported
runtime is younger than.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.events_text import REJECTED
from navarch.services.kubelet.core.orders import Rejected

SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
IPC, NET = "ipc", "net"
# What belongs to a namespace: by its whole name, or by how it begins.
NAMESPACE_OF = {"kernel.sem": IPC}
NAMESPACE_BEGINS = {"kernel.shm": IPC, "kernel.msg": IPC, "fs.mqueue.": IPC, "net.": NET}
LONGEST = 253
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
PATTERN = rf"({_SEGMENT}[./])*({_SEGMENT}|({_SEGMENT})?\*)"


class SysctlError(ValueError):
    """A pattern that a node cannot allow."""


def normal_name(name: str) -> str:
    """With dots between its parts: `net/ipv4/conf/eth0.1/x` is `net.ipv4.conf.eth0/1.x`."""
    first = re.search(r"[./]", name)
    return name.translate(str.maketrans("./", "/.")) if first is not None and first[0] == "/" else name


def _namespace(name: str) -> str:
    if name in NAMESPACE_OF:
        return NAMESPACE_OF[name]
    return next((space for start, space in NAMESPACE_BEGINS.items() if name.startswith(start)), "")


@dataclass(frozen=True, slots=True)
class SysctlPolicy:
    """The patterns that Pods may set, each with the namespace that it belongs to."""

    allowed: dict[str, str] = field(default_factory=lambda: {name: _namespace(name) for name in SAFE})

    @classmethod
    def of(cls, patterns: Iterable[str]) -> "SysctlPolicy":
        """The safe ones, and patterns ("kernel.msg*") of others. Raises SysctlError."""
        more = {}
        for pattern in patterns:
            if len(pattern) > LONGEST or not re.fullmatch(PATTERN, pattern):
                raise SysctlError(f'sysctl "{pattern}" must have max {LONGEST} characters and match regex {PATTERN}')
            name = normal_name(pattern)
            more[name] = _namespace(name.removesuffix("*"))
            if not more[name]:
                raise SysctlError(f'the sysctls "{pattern}" are not known to be namespaced')
        return cls({**cls().allowed, **more})

    def refuse(self, pod: corev1.Pod) -> Rejected | None:
        """The refusal of a Pod that sets what it may not."""
        for sysctl in pod.spec.security_context.sysctls:
            if (cause := self._cause(pod, normal_name(sysctl.name))) is not None:
                return Rejected("SysctlForbidden", f"{REJECTED}forbidden sysctl: {cause}")
        return None

    def _cause(self, pod: corev1.Pod, name: str) -> str | None:
        space = self.allowed.get(name) or next(
            (space for one, space in self.allowed.items() if one.endswith("*") and name.startswith(one[:-1])), ""
        )
        if not space:
            return f'"{name}" not allowlisted'
        if (space == IPC and pod.spec.host_ipc) or (space == NET and pod.spec.host_network):
            return f'sysctl "{name}" not allowed with host {space} enabled'
        return None
