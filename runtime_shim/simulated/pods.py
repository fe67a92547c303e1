"""The sandboxes and containers of a simulated host: state and its legal changes, no waiting, no I/O.

Times are unix nanoseconds, as CRI has them. Every change is counted and told.
"""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import names, signals
from navarch.runtime_shim.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from navarch.runtime_shim.events import Events
from navarch.runtime_shim.records import ContainerPhase, ContainerRecord, SandboxPhase, SandboxRecord
from navarch.runtime_shim.simulated.behavior import Behavior

SIGKILL_CODE = 128 + 9
START_FAILED_CODE = 128


@dataclass(eq=False, slots=True)
class Sandbox:
    """One Pod's place on the host. containers: by id."""

    record: SandboxRecord
    containers: "dict[str, Container]" = field(default_factory=dict)
    # What exists once in it.
    names: set[str] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """Whether containers may be made and started in it."""
        return self.record.phase == SandboxPhase.READY


@dataclass(eq=False, slots=True)
class Container:
    """One container. is_starting: somebody waits for its start. on_exit: called once, when it runs no more."""

    record: ContainerRecord
    sandbox: Sandbox
    behavior: Behavior
    is_starting: bool = False
    on_exit: list[Callable[[], object]] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """Whether its process, had it one, would run."""
        return self.record.phase == ContainerPhase.RUNNING


class Pods:
    """All sandboxes and containers of one host."""

    def __init__(self, pod_cidr: str, new_id: Callable[[], str], now: Callable[[], int]) -> None:
        self._addresses = IPv4Network(pod_cidr)
        self._next_address = 1
        self._released: list[str] = []
        self._new_id = new_id
        self.now = now
        self.events = Events()
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self._names: set[str] = set()
        # The number of the last change.
        self.change = 0

    # Sandboxes.

    def run_sandbox(self, config: criv1.PodSandboxConfig, handler: str) -> Sandbox:
        """Make a ready sandbox. Raises InvalidArgument, AlreadyExists, ResourceExhausted."""
        name = names.sandbox_name(config.metadata)
        Behavior.of(config.annotations, "")
        if name in self._names:
            raise AlreadyExists(f"sandbox {name} exists already")
        is_on_host = config.linux.security_context.namespace_options.network == criv1.NamespaceMode.NODE
        ips = () if is_on_host else (self._take_address(),)
        record = SandboxRecord(self._new_id(), config, self.now(), handler, SandboxPhase.READY, ips)
        sandbox = self.sandboxes[record.id] = Sandbox(record)
        self._names.add(name)
        for kind in (criv1.CONTAINER_CREATED_EVENT, criv1.CONTAINER_STARTED_EVENT):
            self._changed(sandbox, record.id, kind)
        return sandbox

    def stop_sandbox(self, sandbox: Sandbox) -> None:
        """Kill what runs in it and give its address back. Idempotent."""
        for container in sandbox.containers.values():
            self.exit(container, SIGKILL_CODE)
        if sandbox.ready:
            self._released += sandbox.record.ips
            sandbox.record.phase = SandboxPhase.STOPPED
            self._changed(sandbox, sandbox.record.id, criv1.CONTAINER_STOPPED_EVENT)

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Stop it and forget it with its containers. Idempotent."""
        self.stop_sandbox(sandbox)
        for container in list(sandbox.containers.values()):
            self.remove(container)
        if self.sandboxes.pop(sandbox.record.id, None):
            self._names.discard(names.sandbox_name(sandbox.record.config.metadata))
            self._changed(sandbox, sandbox.record.id, criv1.CONTAINER_DELETED_EVENT)

    # Containers.

    def create(self, sandbox: Sandbox, config: criv1.ContainerConfig, image_id: str) -> Container:
        """Make a container that does not run yet. Raises FailedPrecondition, InvalidArgument, AlreadyExists."""
        if not sandbox.ready:
            raise FailedPrecondition(f"sandbox {sandbox.record.id} is not ready")
        name, pod = names.container_name(config.metadata), sandbox.record.config
        if config.linux.security_context.privileged and not pod.linux.security_context.privileged:
            raise InvalidArgument("no privileged container is allowed in a sandbox that is not")
        behavior = Behavior.of(pod.annotations, config.metadata.name)
        if name in sandbox.names:
            raise AlreadyExists(f"container {name} of sandbox {sandbox.record.id} exists already")
        record = ContainerRecord(self._new_id(), sandbox.record.id, config, self.now(), image_id, image_id)
        record.stop_signal = signals.stop_signal(config.stop_signal, "")
        record.phase = ContainerPhase.CREATED
        if pod.log_directory and config.log_path:
            record.log_path = posixpath.join(pod.log_directory, config.log_path)
        container = Container(record, sandbox, behavior)
        sandbox.containers[record.id] = self.containers[record.id] = container
        sandbox.names.add(name)
        self._changed(sandbox, record.id, criv1.CONTAINER_CREATED_EVENT)
        return container

    def begin(self, container: Container) -> None:
        """Before a start. Raises FailedPrecondition for what is not just created."""
        if container.record.phase != ContainerPhase.CREATED or container.is_starting:
            phase = "starting" if container.is_starting else container.record.phase.value
            raise FailedPrecondition(f"container {container.record.id} is {phase}, not created")
        self.check(container)
        container.is_starting = True

    def check(self, container: Container) -> None:
        """Raises NotFound, FailedPrecondition where it was removed, or its sandbox stopped, while it started."""
        if container.record.id not in self.containers:
            raise NotFound(f"container {container.record.id} was removed while it started")
        if not container.sandbox.ready:
            raise FailedPrecondition(f"sandbox {container.record.sandbox_id} is not ready")

    def start(self, container: Container) -> None:
        """The process runs."""
        container.record.phase, container.record.started_at_ns = ContainerPhase.RUNNING, self.now()
        self._changed(container.sandbox, container.record.id, criv1.CONTAINER_STARTED_EVENT)

    def fail(self, container: Container, message: str) -> None:
        """The process could not be run."""
        container.record.started_at_ns = self.now()
        self._finish(container, START_FAILED_CODE, "StartError", message)

    def exit(self, container: Container, code: int, reason: str = "") -> None:
        """The process ends; nothing happens where none runs."""
        if container.runs:
            self._finish(container, code, reason or ("Error" if code else "Completed"), "")

    def remove(self, container: Container) -> None:
        """Kill and forget. Idempotent."""
        self.exit(container, SIGKILL_CODE)
        if self.containers.pop(container.record.id, None):
            del container.sandbox.containers[container.record.id]
            container.sandbox.names.discard(names.container_name(container.record.config.metadata))
            self._changed(container.sandbox, container.record.id, criv1.CONTAINER_DELETED_EVENT)

    # Reading.

    def find_sandbox(self, sandbox_id: str) -> Sandbox | None:
        """By id or by an unambiguous beginning of it."""
        return names.find(self.sandboxes, sandbox_id, "sandbox")

    def find_container(self, container_id: str) -> Container | None:
        """By id or by an unambiguous beginning of it."""
        return names.find(self.containers, container_id, "container")

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Raises NotFound."""
        if (sandbox := self.find_sandbox(sandbox_id)) is None:
            raise NotFound(f"sandbox {sandbox_id!r} not found")
        return sandbox

    def container(self, container_id: str) -> Container:
        """Raises NotFound."""
        if (container := self.find_container(container_id)) is None:
            raise NotFound(f"container {container_id!r} not found")
        return container

    def running(self, container_id: str) -> Container:
        """Raises NotFound, FailedPrecondition."""
        container = self.container(container_id)
        if not container.runs:
            raise FailedPrecondition(f"container {container.record.id} is not running")
        return container

    # Inside.

    def _finish(self, container: Container, code: int, reason: str, message: str) -> None:
        record = container.record
        record.phase, record.exit_code, record.finished_at_ns = ContainerPhase.EXITED, code, self.now()
        record.reason, record.message = reason, message
        self._changed(container.sandbox, record.id, criv1.CONTAINER_STOPPED_EVENT)
        called, container.on_exit = container.on_exit, []
        for call in called:
            call()

    def _changed(self, sandbox: Sandbox, changed_id: str, kind: "criv1.ContainerEventType") -> None:
        self.change += 1
        records = (container.record for container in sandbox.containers.values())
        self.events.publish(kind, changed_id, self.now(), sandbox.record, records)

    def _take_address(self) -> str:
        if self._next_address < self._addresses.num_addresses - 2:
            # The first address is the gateway's.
            self._next_address += 1
            return str(self._addresses[self._next_address])
        if not self._released:
            raise ResourceExhausted(f"no address is left in {self._addresses}")
        return self._released.pop(0)
