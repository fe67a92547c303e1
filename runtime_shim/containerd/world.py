"""Everything the shim knows now: sandboxes and containers in memory, mirrored on disk, and who is told of changes.

Reads never wait and never ask containerd. Whoever changes a sandbox or a container holds its lock, changes the
record, saves it, and publishes the event, in that order.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.output import Output
from navarch.runtime_shim.containerd.user_namespaces import Mapping, sandbox_mapping
from navarch.runtime_shim.events import Events
from navarch.runtime_shim.names import Names, find
from navarch.runtime_shim.records import (
    ContainerPhase,
    ContainerRecord,
    SandboxPhase,
    SandboxRecord,
    StateDir,
)
from navarch.services.base.clock import Clock


@dataclass(eq=False, slots=True)
class Sandbox:
    """A sandbox and its containers. closing: it is being stopped, and takes no new processes."""

    record: SandboxRecord
    containers: "dict[str, Container]" = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    closing: bool = False
    # Held while a task of it is made or removed, and the containerd-shim that has none any more.
    tasks: asyncio.Lock = field(default_factory=asyncio.Lock)
    ending_shim: int = 0

    @property
    def ready(self) -> bool:
        """Whether containers may be made and started in it."""
        return self.record.phase == SandboxPhase.READY and not self.closing


@dataclass(eq=False, slots=True)
class Container:
    """A container. output: while its process lives. exited: set when the record says so.

    shim_pid: the containerd-shim of its task, 0 without one. rootfs, process: what containerd has of it, its mounts and
    the process of its specification in JSON; empty after a restart until asked for.
    """

    record: ContainerRecord
    sandbox: Sandbox
    output: Output | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    oom_killed: bool = False
    is_stopping: bool = False
    shim_pid: int = 0
    rootfs: Sequence[containerd_types.Mount] = ()
    process: bytes = b""


class World:
    """The one place of truth in memory."""

    def __init__(self, state: StateDir, clock: Clock) -> None:
        self.state = state
        self.clock = clock
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        # The number of the last change.
        self.change = 0
        self._names = Names()
        self._events = Events()

    def open_pipes(self, container_id: str) -> tuple[int, ...] | None:
        """The read ends of a container's output; () where they could not be opened, None where there are none."""
        container = self.containers.get(container_id)
        if container is None or (container.output is None and container.record.phase != ContainerPhase.RUNNING):
            return None
        return container.output.pipes.handles if container.output else ()

    def now_ns(self) -> int:
        """Unix time in nanoseconds, as CRI has it."""
        return int(self.clock.now() * 1e9)

    def find_sandbox(self, sandbox_id: str) -> Sandbox | None:
        """By id or by an unambiguous beginning of it."""
        return find(self.sandboxes, sandbox_id, "sandbox")

    def find_container(self, container_id: str) -> Container | None:
        """By id or by an unambiguous beginning of it."""
        return find(self.containers, container_id, "container")

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Raises NotFound."""
        if (sandbox := self.find_sandbox(sandbox_id)) is None:
            raise errors.NotFound(f"sandbox {sandbox_id!r} not found")
        return sandbox

    def container(self, container_id: str) -> Container:
        """Raises NotFound."""
        if (container := self.find_container(container_id)) is None:
            raise errors.NotFound(f"container {container_id!r} not found")
        return container

    def mappings(self) -> set[Mapping]:
        """The user namespaces of sandboxes that may get containers."""
        ready = (sandbox.record.config for sandbox in self.sandboxes.values() if sandbox.ready)
        return {mapping for config in ready if (mapping := sandbox_mapping(config)) is not None}

    def running(self, container_id: str) -> Container:
        """Raises NotFound or FailedPrecondition."""
        container = self.container(container_id)
        if container.record.phase != ContainerPhase.RUNNING:
            raise errors.FailedPrecondition(f"container {container.record.id} is not running")
        return container

    def add(self, container: Container) -> None:
        """Let the container be found."""
        self.containers[container.record.id] = container
        container.sandbox.containers[container.record.id] = container

    def drop(self, container: Container) -> None:
        """Forget the container."""
        self.containers.pop(container.record.id, None)
        container.sandbox.containers.pop(container.record.id, None)

    def making(self, name: str, exists: bool) -> AbstractContextManager[None]:
        """See `Names`."""
        return self._names.making(name, exists)

    def publish(self, sandbox: Sandbox, changed_id: str, kind: "criv1.ContainerEventType") -> None:
        """Tell all readers what happened to the sandbox itself or to a container of it."""
        self.change += 1
        records = [container.record for container in sandbox.containers.values()]
        self._events.publish(kind, changed_id, self.now_ns(), sandbox.record, records)

    def events(self) -> AsyncIterator[criv1.ContainerEventResponse]:
        """All events from now on. Raises ResourceExhausted for a reader who is too slow."""
        return self._events.follow()
