"""One device plugin, as the kubelet calls it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import grpc

from navarch.protos.kubelet import deviceplugin_pb2 as plugin
from navarch.protos.kubelet import deviceplugin_pb2_grpc
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.devices import NoDevices, Request

# How long a plugin that has registered may take to answer at its socket.
CONNECT_S = 10.0
PRE_START_S = 30.0
# Some devices are programmed for whoever gets them.
ALLOCATE_S = 120.0
# No pings: servers in Go take them for an attack, and a local socket tells by itself when it is closed.
OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.default_authority", "localhost"),
    # A plugin that comes back at the same socket is not to wait for what its predecessor had earned.
    ("grpc.use_local_subchannel_pool", 1),
)

Q = TypeVar("Q")
A = TypeVar("A")


class DeviceEndpoint:
    """The plugin of a resource at its socket. options: None to ask the plugin for them."""

    def __init__(self, resource: str, socket: Path, options: plugin.DevicePluginOptions | None) -> None:
        self.resource = resource
        self.socket = socket
        self._options = options
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS)
        self._stub: deviceplugin_pb2_grpc.DevicePluginAsyncStub = deviceplugin_pb2_grpc.DevicePluginStub(self._channel)
        self._log = get_logger("kubelet.devices").bind(resource=resource)

    async def follow(self, told: Callable[[Iterable[plugin.Device]], None]) -> None:
        """Hear of the plugin's devices until it is gone."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), CONNECT_S)
            if self._options is None:
                self._options = await self._stub.GetDevicePluginOptions(plugin.Empty(), timeout=CONNECT_S)
            async for response in self._stub.ListAndWatch(plugin.Empty()):
                told(response.devices)
            self._log.info("plugin.ended", socket=self.socket)
        except TimeoutError:
            self._log.warning("plugin.silent", socket=self.socket, error=f"no answer within {CONNECT_S:.0f} s")
        except grpc.aio.AioRpcError as failure:
            self._log.info("plugin.gone", socket=self.socket, error=rpc_text(failure))
        except grpc.aio.UsageError as failure:
            # Left by us before it was connected: it has registered again.
            self._log.info("plugin.left", socket=self.socket, error=failure)

    async def choose(self, request: Request) -> Sequence[str]:
        """Which devices a container is to get, as far as the plugin cares."""
        if self._options is None or not self._options.get_preferred_allocation_available:
            return request.choose()
        asked = plugin.PreferredAllocationRequest()
        asked.container_requests.add(
            available_deviceIDs=sorted({*request.free, *request.had}),
            must_include_deviceIDs=request.had,
            allocation_size=request.size,
        )
        response = await self._ask(self._stub.GetPreferredAllocation, asked, ALLOCATE_S)
        return request.choose(response.container_responses[0].deviceIDs if response.container_responses else ())

    async def allocate(self, devices: Iterable[str]) -> plugin.ContainerAllocateResponse:
        """How a container gets at these devices. Raises NoDevices."""
        asked = plugin.AllocateRequest()
        asked.container_requests.add(devices_ids=devices)
        response = await self._ask(self._stub.Allocate, asked, ALLOCATE_S)
        if not response.container_responses:
            raise NoDevices(f"no containers return in allocation response {str(response).strip() or '{}'}")
        return response.container_responses[0]

    @property
    def prepares(self) -> bool:
        """Whether it has to be told of each container that is to start."""
        return self._options is not None and self._options.pre_start_required

    async def pre_start(self, devices: Iterable[str]) -> None:
        """Have devices made ready for a container that is to start. Raises NoDevices."""
        await self._ask(self._stub.PreStartContainer, plugin.PreStartContainerRequest(devices_ids=devices), PRE_START_S)

    async def _ask(self, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", asked: Q, limit_s: float) -> A:
        try:
            return await method(asked, timeout=limit_s)
        except grpc.aio.AioRpcError as failure:
            raise NoDevices(rpc_text(failure)) from failure
        except (asyncio.CancelledError, grpc.aio.UsageError) as failure:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            # The plugin has left, and its channel was closed under the call.
            raise NoDevices(f"device plugin of {self.resource} went away") from failure

    async def close(self) -> None:
        """Call it no more."""
        await self._channel.close()


def rpc_text(failure: grpc.aio.AioRpcError) -> str:
    """A failed call, in the words of the genuine kubelet."""
    code = "".join(part.capitalize() for part in failure.code().name.split("_"))
    return f"rpc error: code = {code} desc = {failure.details()}"
