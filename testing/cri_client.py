"""A plain CRI client for tests: the generated stubs, and what tests do with them all the time.

It knows nothing of what serves CRI, so a test written with it can be asked of any runtime. What it makes it
removes in `clean_up`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc

# As kubelet and crictl have it: a runtime must keep its answers below.
MESSAGE_BYTES = 16 << 20
CALL_TIMEOUT_S = 60.0
POLL_S = 0.02
T = TypeVar("T")


class Deadline(grpc.aio.UnaryUnaryClientInterceptor):
    """Each unary call that states no deadline gets one."""

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Pass the call on."""
        if details.timeout is None:
            details = details._replace(timeout=CALL_TIMEOUT_S)
        return await continuation(details, request)


class CriClient:
    """A client of the CRI server at a socket.

    images, runtime: the stubs. image: what containers run. cgroup_root, logs: where sandboxes' control groups
    and logs go.
    """

    def __init__(self, socket: Path, image: str, cgroup_root: str, logs: Path) -> None:
        options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.insecure_channel(f"unix:{socket}", options=options, interceptors=[Deadline()])
        self.runtime = v1_pb2_grpc.RuntimeServiceStub(self.channel)
        self.images = v1_pb2_grpc.ImageServiceStub(self.channel)
        self.image = image
        self._cgroup_root = cgroup_root
        self._logs = logs
        self._sandboxes: dict[str, criv1.PodSandboxConfig] = {}

    # Configurations.

    def sandbox_config(self, name: str = "", *, host_network: bool = False) -> criv1.PodSandboxConfig:
        """A sandbox's configuration with a PID namespace for each container."""
        name = name or f"pod-{secrets.token_hex(4)}"
        config = criv1.PodSandboxConfig(
            metadata=criv1.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"),
            # As a kubelet: whoever is on the host's network has its name.
            hostname="" if host_network else name,
            log_directory=str(self._logs / name),
            labels={"app": name},
            annotations={"example.com/of": name},
        )
        config.linux.cgroup_parent = f"{self._cgroup_root}/{name}"
        options = config.linux.security_context.namespace_options
        options.pid = criv1.NamespaceMode.CONTAINER
        if host_network:
            options.network = criv1.NamespaceMode.NODE
        return config

    def container_config(self, *command: str, name: str = "main", attempt: int = 0) -> criv1.ContainerConfig:
        """A container's configuration; without words it runs until it is stopped, at once with exit code 0."""
        config = criv1.ContainerConfig(
            metadata=criv1.ContainerMetadata(name=name, attempt=attempt),
            image=criv1.ImageSpec(image=self.image),
            command=command or ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000000 & wait; done"],
            log_path=f"{name}-{attempt}.log",
            labels={"container": name},
            annotations={"example.com/in": name},
        )
        config.linux.security_context.namespace_options.pid = criv1.NamespaceMode.CONTAINER
        return config

    # Factories. What they make is removed in the end.

    async def sandbox(
        self, config: criv1.PodSandboxConfig | None = None, *, host_network: bool = True, handler: str = ""
    ) -> str:
        """A sandbox, ready. Without a configuration: any, on the host's network since that is quicker."""
        config = config or self.sandbox_config(host_network=host_network)
        request = criv1.RunPodSandboxRequest(config=config, runtime_handler=handler)
        sandbox_id = (await self.runtime.RunPodSandbox(request)).pod_sandbox_id
        self._sandboxes[sandbox_id] = config
        return sandbox_id

    async def create(self, sandbox_id: str, config: criv1.ContainerConfig | None = None) -> str:
        """A container that has not been started."""
        # A kubelet hands the sandbox's configuration over once more; containerd's plugin takes the folder of the
        # logs from there.
        request = criv1.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=config or self.container_config(),
            sandbox_config=self._sandboxes.get(sandbox_id),
        )
        return (await self.runtime.CreateContainer(request)).container_id

    async def container(self, sandbox_id: str, config: criv1.ContainerConfig | None = None) -> str:
        """A container that has been started."""
        container_id = await self.create(sandbox_id, config)
        await self.runtime.StartContainer(criv1.StartContainerRequest(container_id=container_id))
        return container_id

    async def clean_up(self) -> None:
        """Remove the sandboxes made, with what is in them."""
        while self._sandboxes:
            await self.remove(self._sandboxes.popitem()[0])
        await self.channel.close()

    # Shorthands.

    async def stop(self, sandbox_id: str) -> None:
        """StopPodSandbox."""
        await self.runtime.StopPodSandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove(self, sandbox_id: str) -> None:
        """RemovePodSandbox. It stops the sandbox first, if need be."""
        await self.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def stop_container(self, container_id: str, timeout_s: int = 10) -> None:
        """StopContainer."""
        await self.runtime.StopContainer(criv1.StopContainerRequest(container_id=container_id, timeout=timeout_s))

    async def remove_container(self, container_id: str) -> None:
        """RemoveContainer."""
        await self.runtime.RemoveContainer(criv1.RemoveContainerRequest(container_id=container_id))

    async def sandbox_status(self, sandbox_id: str) -> criv1.PodSandboxStatus:
        """PodSandboxStatus."""
        request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        return (await self.runtime.PodSandboxStatus(request)).status

    async def status(self, container_id: str) -> criv1.ContainerStatus:
        """ContainerStatus."""
        request = criv1.ContainerStatusRequest(container_id=container_id)
        return (await self.runtime.ContainerStatus(request)).status

    async def state(self, container_id: str) -> str:
        """The state by its name without the prefix: CREATED, RUNNING, EXITED, UNKNOWN."""
        name: str = criv1.ContainerState.Name((await self.status(container_id)).state)
        return name.removeprefix("CONTAINER_")

    async def exited(self, container_id: str) -> criv1.ContainerStatus:
        """The status of a container once it has exited."""

        async def ended() -> bool:
            return await self.state(container_id) == "EXITED"

        await until(ended)
        return await self.status(container_id)

    async def exec(self, container_id: str, *command: str, timeout_s: int = 20) -> criv1.ExecSyncResponse:
        """ExecSync."""
        request = criv1.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_s)
        return await self.runtime.ExecSync(request)

    async def shell(self, container_id: str, script: str) -> str:
        """What a script in the container writes to standard output."""
        return (await self.exec(container_id, "sh", "-c", script)).stdout.decode()

    async def log(self, container_id: str) -> list[tuple[str, str, str]]:
        """(stream, tag, text) of each record of the log."""
        text = Path((await self.status(container_id)).log_path).read_text()
        records = (line.split(" ", 3) for line in text.splitlines())
        return [(stream, tag, rest) for _, stream, tag, rest in records]


async def until(condition: Callable[[], Awaitable[T]], timeout_s: float = 30) -> T:
    """Return the condition's value once it is true."""
    async with asyncio.timeout(timeout_s):
        while not (value := await condition()):  # noqa: ASYNC110 - a runtime's state, not ours
            await asyncio.sleep(POLL_S)
    return value
