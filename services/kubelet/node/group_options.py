"""What a kubelet is told about control groups, checked as a whole."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from navarch.services.kubelet.core.cgroup_names import CgroupDriver, CgroupNames
from navarch.services.kubelet.core.cgroup_settings import UNLIMITED
from navarch.services.kubelet.node.options import truth
from navarch.services.kubelet.node.status import Reservations

PODS, KUBE, SYSTEM, NONE = "pods", "kube-reserved", "system-reserved", "none"
ENFORCEABLE = (PODS, SYSTEM, KUBE)
# sd_booted(3).
SYSTEMD_RUNS = Path("/run/systemd/system")


class GroupOptionsError(Exception):
    """Options that do not go together; the message names them."""


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """names: where Pods' groups are. enforced: whose reservations are limits. reserved: a group and its amounts."""

    names: CgroupNames = field(default_factory=CgroupNames)
    pod_max_pids: int = UNLIMITED
    enforced: frozenset[str] = frozenset({PODS})
    reserved: tuple[tuple[str, Reservations], ...] = ()


# Of nodes whose containers are simulated.
NO_GROUPS = GroupOptions(CgroupNames(per_qos=False), enforced=frozenset())


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, as kubelet calls them."""
    add = parser.add_argument
    add("--cgroups-per-qos", type=truth, nargs="?", const=True, default=True, metavar="true|false")
    add("--cgroup-root", default="/", metavar="GROUP")
    add("--cgroup-driver", type=CgroupDriver, default=CgroupDriver.CGROUPFS, choices=list(CgroupDriver))
    add("--pod-max-pids", type=int, default=UNLIMITED, metavar="COUNT")
    add("--enforce-node-allocatable", default=PODS, metavar=f"none|{','.join(ENFORCEABLE)}")
    add("--kube-reserved-cgroup", default="", metavar="GROUP")
    add("--system-reserved-cgroup", default="", metavar="GROUP")


def group_options(options: argparse.Namespace, systemd_runs: Callable[[], bool] = SYSTEMD_RUNS.is_dir) -> GroupOptions:
    """What the command line says. Raises GroupOptionsError."""
    if options.cgroup_driver is CgroupDriver.SYSTEMD and not systemd_runs():
        raise GroupOptionsError(f"--cgroup-driver systemd: systemd does not run on this host (no {SYSTEMD_RUNS})")
    enforced = _enforced(options.enforce_node_allocatable)
    if enforced and not options.cgroups_per_qos:
        raise GroupOptionsError(
            f"--enforce-node-allocatable {options.enforce_node_allocatable!r} needs --cgroups-per-qos; "
            "without it only 'none' is accepted"
        )
    reserved = []
    for name, group, amounts in (
        (KUBE, options.kube_reserved_cgroup, options.kube_reserved),
        (SYSTEM, options.system_reserved_cgroup, options.system_reserved),
    ):
        if name in enforced and not group:
            raise GroupOptionsError(f"--enforce-node-allocatable names {name}: --{name}-cgroup must say which group")
        if name in enforced:
            reserved.append((group, amounts))
    names = CgroupNames(options.cgroup_root, options.cgroup_driver, options.cgroups_per_qos)
    return GroupOptions(names, options.pod_max_pids, enforced, tuple(reserved))


def _enforced(text: str) -> frozenset[str]:
    words = [word for word in text.split(",") if word]
    if words == [NONE]:
        return frozenset()
    if unknown := [word for word in words if word not in ENFORCEABLE]:
        raise GroupOptionsError(
            f"--enforce-node-allocatable: {unknown[0]!r}: accepted are {', '.join(ENFORCEABLE)}, or {NONE} alone"
        )
    return frozenset(words)
