"""The sandboxes and containers of a simulated host: state and its legal changes, no waiting, no I/O.

Times are unix nanoseconds, as CRI has them. Every change of a container is reported to ``on_change``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TypeVar

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import FailedPrecondition, NotFound, ResourceExhausted
from navarch.runtime_shim.simulated.behavior import Behavior

SIGKILL_CODE = 128 + 9
SIGTERM_CODE = 128 + 15


@dataclass(slots=True)
class Sandbox:
    """One Pod's place on the host."""

    id: str
    config: criv1.PodSandboxConfig
    created_at: int
    ip: str
    ready: bool = True
    containers: dict[str, "Container"] = field(default_factory=dict)

    def status(self) -> criv1.PodSandboxStatus:
        """As PodSandboxStatus and events show it."""
        return criv1.PodSandboxStatus(
            id=self.id,
            metadata=self.config.metadata,
            state=criv1.SANDBOX_READY if self.ready else criv1.SANDBOX_NOTREADY,
            created_at=self.created_at,
            network=criv1.PodSandboxNetworkStatus(ip=self.ip if self.ready else ""),
            linux=criv1.LinuxPodSandboxStatus(
                namespaces=criv1.Namespace(options=self.config.linux.security_context.namespace_options)
            ),
            labels=self.config.labels,
            annotations=self.config.annotations,
        )

    def item(self) -> criv1.PodSandbox:
        """As ListPodSandbox shows it."""
        status = self.status()
        return criv1.PodSandbox(
            id=self.id,
            metadata=status.metadata,
            state=status.state,
            created_at=self.created_at,
            labels=status.labels,
            annotations=status.annotations,
        )


@dataclass(slots=True)
class Container:
    """One container; ``run`` counts its starts so that a late timer of an earlier one does nothing."""

    id: str
    sandbox: Sandbox
    config: criv1.ContainerConfig
    behavior: Behavior
    image_id: str
    created_at: int
    state: int = criv1.CONTAINER_CREATED
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0

    @property
    def log_path(self) -> str:
        """Where the kubelet wants the log; empty when it wants none."""
        directory, path = self.sandbox.config.log_directory, self.config.log_path
        return f"{directory}/{path}" if directory and path else ""

    def status(self) -> criv1.ContainerStatus:
        """As ContainerStatus and events show it."""
        exited = self.state == criv1.CONTAINER_EXITED
        reason = "" if not exited else "Completed" if self.exit_code == 0 else "Error"
        return criv1.ContainerStatus(
            id=self.id,
            metadata=self.config.metadata,
            state=criv1.ContainerState.Name(self.state),
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            image=self.config.image,
            image_ref=self.image_id,
            image_id=self.image_id,
            reason=reason,
            labels=self.config.labels,
            annotations=self.config.annotations,
            mounts=self.config.mounts,
            log_path=self.log_path,
        )

    def item(self) -> criv1.Container:
        """As ListContainers shows it."""
        return criv1.Container(
            id=self.id,
            pod_sandbox_id=self.sandbox.id,
            metadata=self.config.metadata,
            image=self.config.image,
            image_ref=self.image_id,
            image_id=self.image_id,
            state=criv1.ContainerState.Name(self.state),
            created_at=self.created_at,
            labels=self.config.labels,
            annotations=self.config.annotations,
        )


T = TypeVar("T")
OnChange = Callable[[Container, int], None]


class Pods:
    """All sandboxes and containers of one host."""

    def __init__(self, pod_cidr: str, new_id: Callable[[], str], on_change: OnChange) -> None:
        """``on_change`` gets the container and a ContainerEventType."""
        self._addresses = IPv4Network(pod_cidr)
        self._next_address = 1
        self._released: list[str] = []
        self._new_id = new_id
        self._on_change = on_change
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        # By name, while they are ready.
        self._ready: dict[bytes, Sandbox] = {}
        # The number of the last change.
        self.change = 0

    def run_sandbox(self, config: criv1.PodSandboxConfig, now: int) -> Sandbox:
        """Make a ready sandbox, or return the ready one of the same Pod and attempt."""
        name = config.metadata.SerializeToString(deterministic=True)
        if (known := self._ready.get(name)) is not None:
            return known
        network = config.linux.security_context.namespace_options.network
        ip = "" if network == criv1.NODE else self._take_address()
        sandbox = Sandbox(self._new_id(), config, now, ip)
        self.sandboxes[sandbox.id] = self._ready[name] = sandbox
        self.change += 1
        return sandbox

    def stop_sandbox(self, sandbox: Sandbox, now: int) -> None:
        """Kill what runs in it and give its address back. Idempotent."""
        for container in sandbox.containers.values():
            self.exit(container, SIGKILL_CODE, now)
        if sandbox.ready and sandbox.ip:
            self._released.append(sandbox.ip)
        self._ready.pop(sandbox.config.metadata.SerializeToString(deterministic=True), None)
        sandbox.ready = False
        self.change += 1

    def remove_sandbox(self, sandbox: Sandbox, now: int) -> None:
        """Stop it and forget it with its containers."""
        self.stop_sandbox(sandbox, now)
        for container in list(sandbox.containers.values()):
            self.remove(container, now)
        self.sandboxes.pop(sandbox.id, None)
        self.change += 1

    def create(
        self, sandbox: Sandbox, config: criv1.ContainerConfig, behavior: Behavior, image_id: str, now: int
    ) -> Container:
        """Make a container that does not run yet. Raises FailedPrecondition when the sandbox is stopped."""
        if not sandbox.ready:
            raise FailedPrecondition(f"sandbox {sandbox.id} is not ready")
        container = Container(self._new_id(), sandbox, config, behavior, image_id, now)
        sandbox.containers[container.id] = self.containers[container.id] = container
        self._changed(container, criv1.CONTAINER_CREATED_EVENT)
        return container

    def start(self, container: Container, now: int) -> None:
        """Created -> running. Raises FailedPrecondition in any other state."""
        if container.state != criv1.CONTAINER_CREATED:
            state = criv1.ContainerState.Name(container.state)
            raise FailedPrecondition(f"container {container.id} is in {state}, only a created one can start")
        container.state, container.started_at = criv1.CONTAINER_RUNNING, now
        self._changed(container, criv1.CONTAINER_STARTED_EVENT)

    def exit(self, container: Container, code: int, now: int) -> None:
        """The process ends; nothing happens where none runs."""
        if container.state == criv1.CONTAINER_RUNNING:
            container.state, container.exit_code, container.finished_at = criv1.CONTAINER_EXITED, code, now
            self._changed(container, criv1.CONTAINER_STOPPED_EVENT)

    def remove(self, container: Container, now: int) -> None:
        """Kill and forget. Idempotent."""
        self.exit(container, SIGKILL_CODE, now)
        if self.containers.pop(container.id, None):
            container.sandbox.containers.pop(container.id, None)
            self._changed(container, criv1.CONTAINER_DELETED_EVENT)

    def _changed(self, container: Container, event: int) -> None:
        self.change += 1
        self._on_change(container, event)

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """By id or unambiguous beginning of it. Raises NotFound."""
        return _lookup(self.sandboxes, sandbox_id, "sandbox")

    def container(self, container_id: str) -> Container:
        """By id or unambiguous beginning of it. Raises NotFound."""
        return _lookup(self.containers, container_id, "container")

    def list_sandboxes(self, wanted: criv1.PodSandboxFilter) -> Iterator[Sandbox]:
        """Those that pass the filter."""
        for sandbox in self.sandboxes.values():
            state = criv1.SANDBOX_READY if sandbox.ready else criv1.SANDBOX_NOTREADY
            if (
                sandbox.id.startswith(wanted.id)
                and (not wanted.HasField("state") or wanted.state.state == state)
                and wanted.label_selector.items() <= dict(sandbox.config.labels).items()
            ):
                yield sandbox

    def list_containers(self, wanted: criv1.ContainerFilter) -> Iterator[Container]:
        """Those that pass the filter."""
        for container in self.containers.values():
            if (
                container.id.startswith(wanted.id)
                and container.sandbox.id.startswith(wanted.pod_sandbox_id)
                and (not wanted.HasField("state") or wanted.state.state == container.state)
                and wanted.label_selector.items() <= dict(container.config.labels).items()
            ):
                yield container

    def _take_address(self) -> str:
        if self._next_address < self._addresses.num_addresses - 2:
            # The first address is the gateway's.
            self._next_address += 1
            return str(self._addresses[self._next_address])
        if not self._released:
            raise ResourceExhausted(f"no address is left in {self._addresses}")
        return self._released.pop(0)


def _lookup(found: dict[str, T], wanted: str, what: str) -> T:
    if wanted in found:
        return found[wanted]
    matches: Iterable[T] = [value for key, value in found.items() if wanted and key.startswith(wanted)]
    if len(list(matches)) != 1:
        raise NotFound(f"{what} {wanted!r} not found")
    return next(iter(matches))
