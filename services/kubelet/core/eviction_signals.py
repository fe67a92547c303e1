"""What the kubelet watches of its node to tell when it runs short, and what each means.

A signal is how much of something is left. It stands for a resource that Pods use up and for a condition of the node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from navarch.services.api.quantity import Format, Quantity


class Signal(StrEnum):
    """The eviction signals of Kubernetes."""

    MEMORY = "memory.available"
    ALLOCATABLE_MEMORY = "allocatableMemory.available"
    NODE_FS = "nodefs.available"
    NODE_FS_INODES = "nodefs.inodesFree"
    IMAGE_FS = "imagefs.available"
    IMAGE_FS_INODES = "imagefs.inodesFree"
    CONTAINER_FS = "containerfs.available"
    CONTAINER_FS_INODES = "containerfs.inodesFree"
    PID = "pid.available"


MEMORY_PRESSURE, DISK_PRESSURE, PID_PRESSURE = "MemoryPressure", "DiskPressure", "PIDPressure"
MEMORY_SIGNALS = (Signal.MEMORY, Signal.ALLOCATABLE_MEMORY)
INODE_SIGNALS = (Signal.NODE_FS_INODES, Signal.IMAGE_FS_INODES, Signal.CONTAINER_FS_INODES)


def resource_of(signal: Signal) -> str:
    """What is short when the signal is low, as messages call it."""
    if signal in MEMORY_SIGNALS:
        return "memory"
    if signal is Signal.PID:
        return "pids"
    return "inodes" if signal in INODE_SIGNALS else "ephemeral-storage"


def condition_of(signal: Signal) -> str:
    """The condition of a node on which the signal is low."""
    if signal in MEMORY_SIGNALS:
        return MEMORY_PRESSURE
    return PID_PRESSURE if signal is Signal.PID else DISK_PRESSURE


@dataclass(frozen=True, slots=True)
class Observation:
    """How much is left of how much."""

    available: int
    capacity: int


Observations = Mapping[Signal, Observation]


def shown(signal: Signal, amount: int) -> str:
    """An amount as messages write it: bytes in powers of two, counts in powers of ten."""
    counted = signal is Signal.PID or signal in INODE_SIGNALS
    return str(Quantity(amount * 10**9, Format.DECIMAL_SI if counted else Format.BINARY_SI))


def shown_bytes(amount: int) -> str:
    """Bytes as messages write them."""
    return str(Quantity(amount * 10**9, Format.BINARY_SI))
