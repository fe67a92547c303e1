"""The CSI drivers of a node: their node services, and what the API is told of them (CSINode, topology labels)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.csi import v1_pb2_grpc as csiv1_grpc
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.kubelet.plugins.device_endpoint import OPTIONS
from navarch.services.kubelet.plugins.registration import PluginRefused
from navarch.services.kubelet.volumes.kinds import MountFailure

Capability = csiv1.NodeServiceCapability.RPC
NODE_ID_ANNOTATION = "csi.volume.kubernetes.io/nodeid"
INFO_S = 30.0
# Staging may make a file system.
CALL_S = 120.0
ATTEMPTS = 8

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(slots=True)
class Driver:
    """A driver that has registered."""

    name: str
    node_id: str
    channel: grpc.aio.Channel
    stub: "csiv1_grpc.NodeAsyncStub"
    capabilities: frozenset[int]

    def can(self, capability: int) -> bool:
        """Whether it has a capability of node services."""
        return capability in self.capabilities

    async def call(self, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
        """Call its node service. Raises MountFailure."""
        try:
            return await method(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as failure:
            code = failure.code().name.title().replace("_", "")
            raise MountFailure(f"rpc error: code = {code} desc = {failure.details()}") from failure


class CsiDrivers:
    """Those of one node, by name; takes over the plugins of type CSIPlugin. on_change: called when one has come."""

    def __init__(
        self, client: Client, node_name: str, node: Callable[[], corev1.Node], on_change: Callable[[], None]
    ) -> None:
        self._client = client
        self._on_change = on_change
        self._node_name = node_name
        self._node = node
        self._drivers: dict[str, Driver] = {}
        self._log = get_logger("kubelet.csi")

    def find(self, name: str) -> Driver:
        """A driver. Raises MountFailure while it is not there."""
        if (driver := self._drivers.get(name)) is None:
            raise MountFailure(
                f"driver name {name} not found in the list of registered CSI drivers", "MountVolume.MountDevice failed"
            )
        return driver

    def known(self, name: str) -> Driver | None:
        """A driver, if it is there."""
        return self._drivers.get(name)

    async def plug_in(self, name: str, endpoint: Path, versions: tuple[str, ...]) -> None:
        """Learn what it can, and tell the API. Raises PluginRefused."""
        if not any(version.lstrip("v").split(".")[0] == "1" for version in versions):
            raise PluginRefused(f"supported_versions: found {', '.join(versions) or 'none'}, accepted are 1.x")
        channel = grpc.aio.insecure_channel(f"unix:{endpoint}", options=OPTIONS)
        stub: csiv1_grpc.NodeAsyncStub = csiv1_grpc.NodeStub(channel)
        try:
            info = await stub.NodeGetInfo(csiv1.NodeGetInfoRequest(), timeout=INFO_S)
            answer = await stub.NodeGetCapabilities(csiv1.NodeGetCapabilitiesRequest(), timeout=INFO_S)
            await self._tell(name, info)
        except (grpc.aio.AioRpcError, ApiError) as failure:
            await channel.close()
            error = failure.details() if isinstance(failure, grpc.aio.AioRpcError) else str(failure)
            raise PluginRefused(f"error updating CSINode object with CSI driver node info: {error}") from None
        former = self._drivers.get(name)
        capabilities = frozenset(one.rpc.type for one in answer.capabilities)
        self._drivers[name] = Driver(name, info.node_id, channel, stub, capabilities)
        if former is not None:
            await former.channel.close()
        self._on_change()

    async def unplug(self, name: str) -> None:
        """Its socket has gone: the API is told that nobody serves its volumes here."""
        if (driver := self._drivers.pop(name, None)) is not None:
            await driver.channel.close()
            try:
                await self._change(lambda found: _without(found, name))
            except ApiError as failure:
                self._log.warning("csi.untold", driver=name, error=failure)

    async def stop(self) -> None:
        """Let all go, telling nobody."""
        await asyncio.gather(*(driver.channel.close() for driver in self._drivers.values()))

    async def _tell(self, name: str, info: csiv1.NodeGetInfoResponse) -> None:
        segments = dict(info.accessible_topology.segments)
        if segments:
            change = {"metadata": {"labels": segments}}
            await self._client.patch(corev1.Node, self._node_name, "", change, "merge")
        entry = storagev1.CSINodeDriver(name=name, node_id=info.node_id, topology_keys=sorted(segments))
        if info.max_volumes_per_node > 0:
            entry.allocatable.count = info.max_volumes_per_node

        def put(found: storagev1.CSINode) -> None:
            _without(found, name)
            found.spec.drivers.add().CopyFrom(entry)

        await self._change(put)

    async def _change(self, change: Callable[[storagev1.CSINode], None]) -> None:
        for _ in range(ATTEMPTS):
            try:
                found = await self._client.get(storagev1.CSINode, self._node_name)
            except NotFound:
                found = storagev1.CSINode()
                found.metadata.name = self._node_name
                owner = self._node().metadata
                found.metadata.owner_references.add(api_version="v1", kind="Node", name=owner.name, uid=owner.uid)
            before = found.SerializeToString(deterministic=True)
            change(found)
            try:
                if not found.metadata.uid:
                    await self._client.create(found)
                elif found.SerializeToString(deterministic=True) != before:
                    await self._client.update(found)
                return
            except (AlreadyExists, Conflict):
                continue
        raise Conflict("csinodes", self._node_name)


def _without(found: storagev1.CSINode, name: str) -> None:
    kept = [one for one in found.spec.drivers if one.name != name]
    del found.spec.drivers[:]
    found.spec.drivers.extend(kept)
