"""What the node as a whole uses, and the processes that run it."""

import os
import socket
import time
from pathlib import Path

from navarch.protos.navarch import stats_pb2
from navarch.services.kubelet.inspection import moment
from navarch.services.kubelet.node import memory
from navarch.services.kubelet.node.host import Load, read_cpu_ns
from navarch.services.kubelet.stats.groups import PRESSURES, read_group, read_pressure
from navarch.services.kubelet.stats.messages import add_group
from navarch.services.kubelet.stats.network import interfaces, main_interface, network_usage

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def node_usage(name: str, load: Load, now: float) -> stats_pb2.NodeUsage:
    """The node, without its disks and without the parts of it that have names. Raises OSError."""
    info = memory.meminfo()
    node = stats_pb2.NodeUsage(node_name=name, start_time=moment(now - time.clock_gettime(time.CLOCK_BOOTTIME)))
    node.cpu.usage_core_nano_seconds = read_cpu_ns()
    node.memory.available_bytes = load.memory_available_bytes
    node.memory.usage_bytes = info["MemTotal"] - info["MemFree"]
    node.memory.working_set_bytes = info["MemTotal"] - load.memory_available_bytes
    if (whole := read_group("/")) is not None:
        node.memory.usage_bytes, node.memory.rss_bytes = whole.memory_bytes, whole.rss_bytes
        node.memory.page_faults, node.memory.major_page_faults = whole.page_faults, whole.major_page_faults
    else:
        node.memory.rss_bytes = info.get("AnonPages", 0)
    node.swap.swap_available_bytes = info.get("SwapFree", 0)
    node.swap.swap_usage_bytes = info.get("SwapTotal", 0) - info.get("SwapFree", 0)
    for resource in PRESSURES:
        if (pressure := read_pressure(PROC / "pressure" / resource)) is not None:
            getattr(node, resource).psi.CopyFrom(pressure)
    node.network.CopyFrom(network_usage(interfaces(PROC / "self"), main_interface(PROC / "self")))
    node.rlimit.maxpid, node.rlimit.curproc = load.processes_max, load.processes
    return node


def process_usage(name: str, pid: int, now: float) -> stats_pb2.ContainerUsage | None:
    """A process of the node's own; None when it has ended."""
    directory = PROC / str(pid)
    try:
        # After the name, which may hold anything: state ppid ... utime stime (14, 15), starttime (22), vsize, rss.
        words = (directory / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks, began, pages = int(words[11]) + int(words[12]), int(words[19]), int(words[21])
    usage = stats_pb2.ContainerUsage(
        name=name, start_time=moment(now - time.clock_gettime(time.CLOCK_BOOTTIME) + began * TICK_NS / 1e9)
    )
    usage.cpu.usage_core_nano_seconds = ticks * TICK_NS
    usage.memory.usage_bytes = usage.memory.working_set_bytes = usage.memory.rss_bytes = pages * PAGE_BYTES
    usage.memory.page_faults, usage.memory.major_page_faults = int(words[7]), int(words[9])
    return usage


def pods_usage(cgroup_root: str) -> stats_pb2.ContainerUsage | None:
    """All Pods together; None while there are none."""
    group = read_group(cgroup_root)
    if group is None:
        return None
    usage = stats_pb2.ContainerUsage(name="pods")
    add_group(usage, group)
    return usage


def process_behind(endpoint: str) -> int | None:
    """Who serves a socket ("unix:///path"); None for another sort of endpoint, or nobody."""
    if not endpoint.startswith("unix://"):
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(endpoint.removeprefix("unix://"))
            return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
        except OSError:
            return None
