"""The CRI client: every call has a deadline, every refusal is a `RuntimeFailure`."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc as criv1_grpc
from navarch.protos.navarch import streaming_pb2_grpc
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.dialing import channel

CALL_S = 120.0
SANDBOX_S = 240.0
PULL_S = 1800.0
LIST_S = 30.0
# Beyond the grace that a stop was given.
STOP_MARGIN_S = 120.0


class RuntimeFailure(Exception):
    """The runtime refused or did not answer. `code` is gRPC's."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def not_found(self) -> bool:
        """Whether the thing named is not there (any more)."""
        return self.code is grpc.StatusCode.NOT_FOUND


class Runtime:
    """One container runtime, by its socket."""

    def __init__(self, endpoint: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        # Told of each call: the name of its request, how long it took, whether it failed.
        self.observe: Callable[[str, float, bool], None] = lambda *_: None
        self._channel = channel(endpoint, None)
        self._runtime: criv1_grpc.RuntimeServiceAsyncStub = criv1_grpc.RuntimeServiceStub(self._channel)
        # The streams of navarch's own shim; other runtimes answer UNIMPLEMENTED.
        self.streaming: streaming_pb2_grpc.StreamingAsyncStub = streaming_pb2_grpc.StreamingStub(self._channel)
        self._images: criv1_grpc.ImageServiceAsyncStub = criv1_grpc.ImageServiceStub(self._channel)

    async def close(self) -> None:
        """End all calls."""
        await self._channel.close()

    async def version(self) -> criv1.VersionResponse:
        """Name and version of the runtime."""
        response: criv1.VersionResponse = await self._read(self._runtime.Version, criv1.VersionRequest(), LIST_S)
        return response

    async def status(self) -> criv1.RuntimeStatus:
        """Whether runtime and network are ready."""
        response = await self._read(self._runtime.Status, criv1.StatusRequest(), LIST_S)
        status: criv1.RuntimeStatus = response.status
        return status

    async def full_status(self) -> criv1.StatusResponse:
        """Whether runtime and network are ready, and what the runtime can do."""
        response: criv1.StatusResponse = await self._read(self._runtime.Status, criv1.StatusRequest(), LIST_S)
        return response

    async def sandbox_image(self) -> str:
        """The image that sandboxes are made from, as far as the runtime says; older ones do not pin it."""
        response = await self._read(self._runtime.Status, criv1.StatusRequest(verbose=True), LIST_S)
        try:
            return str(json.loads(response.info.get("config", "{}")).get("sandboxImage", ""))
        except (ValueError, AttributeError):
            return ""

    async def run_sandbox(self, config: criv1.PodSandboxConfig, handler: str = "") -> str:
        """Create and start a sandbox. Returns its id."""
        request = criv1.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return str((await self._call(self._runtime.RunPodSandbox, request, SANDBOX_S)).pod_sandbox_id)

    async def stop_sandbox(self, id_: str) -> None:
        """Stop a sandbox and all in it. Idempotent."""
        request = criv1.StopPodSandboxRequest(pod_sandbox_id=id_)
        await self._gone_is_fine(self._runtime.StopPodSandbox, request, SANDBOX_S)

    async def remove_sandbox(self, id_: str) -> None:
        """Remove a sandbox. Idempotent."""
        request = criv1.RemovePodSandboxRequest(pod_sandbox_id=id_)
        await self._gone_is_fine(self._runtime.RemovePodSandbox, request, SANDBOX_S)

    async def sandbox_status(self, id_: str) -> criv1.PodSandboxStatus:
        """A sandbox, with its addresses."""
        request = criv1.PodSandboxStatusRequest(pod_sandbox_id=id_)
        status: criv1.PodSandboxStatus = (await self._read(self._runtime.PodSandboxStatus, request, LIST_S)).status
        return status

    async def list_sandboxes(self) -> list[criv1.PodSandbox]:
        """All sandboxes."""
        return list((await self._read(self._runtime.ListPodSandbox, criv1.ListPodSandboxRequest(), LIST_S)).items)

    async def create_container(
        self, sandbox_id: str, config: criv1.ContainerConfig, sandbox: criv1.PodSandboxConfig
    ) -> str:
        """Create a container. Returns its id."""
        request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox)
        return str((await self._call(self._runtime.CreateContainer, request, CALL_S)).container_id)

    async def start_container(self, id_: str) -> None:
        """Start a created container."""
        await self._call(self._runtime.StartContainer, criv1.StartContainerRequest(container_id=id_), CALL_S)

    async def update_container(self, id_: str, resources: criv1.LinuxContainerResources) -> None:
        """Give a running container other resources."""
        request = criv1.UpdateContainerResourcesRequest(container_id=id_, linux=resources)
        await self._call(self._runtime.UpdateContainerResources, request, CALL_S)

    async def update_sandbox(self, id_: str, resources: criv1.LinuxContainerResources) -> None:
        """Give a Pod's cgroup other resources; a runtime that leaves Pods' cgroups alone has nothing to do."""
        request = criv1.UpdatePodSandboxResourcesRequest(pod_sandbox_id=id_, resources=resources)
        try:
            await self._call(self._runtime.UpdatePodSandboxResources, request, CALL_S)
        except RuntimeFailure as failure:
            if failure.code is not grpc.StatusCode.UNIMPLEMENTED:
                raise

    async def memory_in_use(self, id_: str) -> int:
        """The working set of a running container, in bytes."""
        request = criv1.ContainerStatsRequest(container_id=id_)
        response: criv1.ContainerStatsResponse = await self._read(self._runtime.ContainerStats, request, LIST_S)
        return response.stats.memory.working_set_bytes.value

    async def stop_container(self, id_: str, grace_s: int) -> None:
        """SIGTERM, and SIGKILL after the grace. Idempotent."""
        request = criv1.StopContainerRequest(container_id=id_, timeout=grace_s)
        await self._gone_is_fine(self._runtime.StopContainer, request, grace_s + STOP_MARGIN_S)

    async def reopen_log(self, id_: str) -> None:
        """Have a container's output go to a new file: the old one was renamed."""
        request = criv1.ReopenContainerLogRequest(container_id=id_)
        await self._call(self._runtime.ReopenContainerLog, request, LIST_S)

    async def remove_container(self, id_: str) -> None:
        """Remove a container. Idempotent."""
        request = criv1.RemoveContainerRequest(container_id=id_)
        await self._gone_is_fine(self._runtime.RemoveContainer, request, CALL_S)

    async def container_status(self, id_: str) -> criv1.ContainerStatus:
        """A container."""
        request = criv1.ContainerStatusRequest(container_id=id_)
        status: criv1.ContainerStatus = (await self._read(self._runtime.ContainerStatus, request, LIST_S)).status
        return status

    async def list_containers(self) -> list[criv1.Container]:
        """All containers."""
        return list((await self._read(self._runtime.ListContainers, criv1.ListContainersRequest(), LIST_S)).containers)

    def events(self) -> AsyncIterator[criv1.ContainerEventResponse]:
        """What happens to containers and sandboxes, from this call on. Iterating raises RuntimeFailure."""
        return _translated(self._runtime.GetContainerEvents(criv1.GetEventsRequest(), wait_for_ready=True))

    async def checkpoint_container(self, id_: str, location: str, timeout_s: int) -> None:
        """Write a checkpoint of a running container to an archive; 0 for the runtime's own time limit."""
        request = criv1.CheckpointContainerRequest(container_id=id_, location=location, timeout=timeout_s)
        await self._call(self._runtime.CheckpointContainer, request, timeout_s + LIST_S if timeout_s else PULL_S)

    async def exec_sync(self, id_: str, command: list[str], timeout_s: int) -> criv1.ExecSyncResponse:
        """Run a command in a container; 0 for no time limit of its own."""
        request = criv1.ExecSyncRequest(container_id=id_, cmd=command, timeout=timeout_s)
        deadline_s = timeout_s + LIST_S if timeout_s else PULL_S
        response: criv1.ExecSyncResponse = await self._call(self._runtime.ExecSync, request, deadline_s)
        return response

    async def exec(self, request: criv1.ExecRequest) -> str:
        """The URL at which a command's streams are served."""
        return str((await self._call(self._runtime.Exec, request, LIST_S)).url)

    async def attach(self, request: criv1.AttachRequest) -> str:
        """The URL at which the streams of a container's process are served."""
        return str((await self._call(self._runtime.Attach, request, LIST_S)).url)

    async def port_forward(self, request: criv1.PortForwardRequest) -> str:
        """The URL at which ports of a sandbox are forwarded."""
        return str((await self._call(self._runtime.PortForward, request, LIST_S)).url)

    async def container_stats(self) -> list[criv1.ContainerStats]:
        """Resource use of all containers."""
        request = criv1.ListContainerStatsRequest()
        return list((await self._read(self._runtime.ListContainerStats, request, LIST_S)).stats)

    async def set_pod_cidr(self, pod_cidr: str) -> None:
        """Tell the runtime the node's Pod network."""
        config = criv1.RuntimeConfig(network_config=criv1.NetworkConfig(pod_cidr=pod_cidr))
        await self._call(
            self._runtime.UpdateRuntimeConfig, criv1.UpdateRuntimeConfigRequest(runtime_config=config), LIST_S
        )

    async def image_status(self, image: str) -> criv1.Image | None:
        """An image on the node; None when it is not there."""
        request = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=image))
        response: criv1.ImageStatusResponse = await self._read(self._images.ImageStatus, request, LIST_S)
        return response.image if response.HasField("image") and response.image.id else None

    async def pull_image(self, image: str, auth: criv1.AuthConfig | None, sandbox: criv1.PodSandboxConfig) -> str:
        """Pull an image. Returns its reference."""
        request = criv1.PullImageRequest(image=criv1.ImageSpec(image=image), auth=auth, sandbox_config=sandbox)
        return str((await self._call(self._images.PullImage, request, PULL_S)).image_ref)

    async def remove_image(self, image: str) -> None:
        """Remove an image. Idempotent."""
        request = criv1.RemoveImageRequest(image=criv1.ImageSpec(image=image))
        await self._gone_is_fine(self._images.RemoveImage, request, CALL_S)

    async def image_fs_info(self) -> criv1.ImageFsInfoResponse:
        """The file systems that hold images and the containers' writable layers."""
        response: criv1.ImageFsInfoResponse = await self._read(
            self._images.ImageFsInfo, criv1.ImageFsInfoRequest(), LIST_S
        )
        return response

    async def list_images(self) -> list[criv1.Image]:
        """All images."""
        return list((await self._read(self._images.ListImages, criv1.ListImagesRequest(), LIST_S)).images)

    async def _call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Any, Any]", request: Message, deadline_s: float
    ) -> Any:
        began = self._clock.monotonic()
        failed = True
        try:
            answer = await method(request, timeout=deadline_s, wait_for_ready=True)
            failed = False
            return answer
        except grpc.aio.AioRpcError as failure:
            raise _failure(failure) from None
        finally:
            self.observe(type(request).__name__, self._clock.monotonic() - began, failed)

    async def _read(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Any, Any]", request: Message, deadline_s: float
    ) -> Any:
        """A call that changes nothing: when the runtime goes away in the middle of it, it is asked again."""
        try:
            return await self._call(method, request, deadline_s)
        except RuntimeFailure as failure:
            if failure.code is not grpc.StatusCode.UNAVAILABLE:
                raise
        return await self._call(method, request, deadline_s)

    async def _gone_is_fine(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Any, Any]", request: Message, deadline_s: float
    ) -> None:
        try:
            await self._call(method, request, deadline_s)
        except RuntimeFailure as failure:
            if not failure.not_found:
                raise


async def _translated(
    call: "grpc.aio.UnaryStreamCall[Any, criv1.ContainerEventResponse]",
) -> AsyncIterator[criv1.ContainerEventResponse]:
    try:
        async for event in call:
            yield event
    except grpc.aio.AioRpcError as failure:
        raise _failure(failure) from None
    finally:
        call.cancel()


def _failure(failure: grpc.aio.AioRpcError) -> RuntimeFailure:
    return RuntimeFailure(failure.code(), failure.details() or failure.code().name)
