"""A CSI driver for tests: volumes are directories, staged and published by bind mounts, as a process of its own.

It writes each call into a file, one a line, and refuses those that a file names.
"""

import argparse
import asyncio
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.csi import v1_pb2_grpc as csiv1_grpc
from navarch.protos.kubelet import pluginregistration_pb2 as registration
from navarch.protos.kubelet import pluginregistration_pb2_grpc
from navarch.services.base import mounting
from navarch.services.kubelet.volumes.binding import bind

# A loop device that nobody has set up.
DEVICE = (7, 250)
RPC = csiv1.NodeServiceCapability.RPC


class CsiDriver:
    """The driver's process, for a test. root: the kubelet's; folder: what the driver keeps, its calls among it."""

    def __init__(self, name: str, root: Path, folder: Path, *capabilities: str) -> None:
        self.name = name
        self.folder = folder
        self._arguments = [name, str(root), str(folder), *capabilities]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Run it. It registers by itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "navarch.testing.csi_driver", *self._arguments]
        self._process = await asyncio.create_subprocess_exec(*command)

    async def kill(self) -> None:
        """End it without warning; its sockets stay."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """End it in order: its sockets go."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def calls(self, method: str = "") -> list[dict[str, Any]]:
        """What it was asked, of one method if named: its name in "call", and its fields."""
        path = self.folder / "calls"
        every = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in every if not method or call["call"] == method]

    def refuse(self, *methods: str) -> None:
        """Fail these from now on."""
        (self.folder / "refuse").write_text(" ".join(methods))


class Node(csiv1_grpc.NodeServicer):
    """The node service."""

    def __init__(self, folder: Path, capabilities: list[str]) -> None:
        self._folder = folder
        self._capabilities = capabilities

    async def _note(self, request: Any, context: Any) -> None:
        method = type(request).__name__.removesuffix("Request")
        with (self._folder / "calls").open("a") as calls:
            calls.write(json.dumps({"call": method, **MessageToDict(request, preserving_proto_field_name=True)}) + "\n")
        refused = self._folder / "refuse"
        if refused.exists() and method in refused.read_text().split():
            await context.abort(grpc.StatusCode.INTERNAL, f"{method} is refused")

    def _volume(self, id_: str) -> Path:
        path = self._folder / "volumes" / id_
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def NodeGetInfo(self, request: Any, context: Any) -> csiv1.NodeGetInfoResponse:
        """Which node it is."""
        topology = csiv1.Topology(segments={"example.com/rack": "r1"})
        return csiv1.NodeGetInfoResponse(node_id="node-id", max_volumes_per_node=5, accessible_topology=topology)

    async def NodeGetCapabilities(self, request: Any, context: Any) -> csiv1.NodeGetCapabilitiesResponse:
        """What it can."""
        types: list[Any] = [RPC.Type.Value(name) for name in self._capabilities]
        return csiv1.NodeGetCapabilitiesResponse(
            capabilities=[csiv1.NodeServiceCapability(rpc=RPC(type=type_)) for type_ in types]
        )

    async def NodeStageVolume(self, request: Any, context: Any) -> csiv1.NodeStageVolumeResponse:
        """A bind mount of the directory."""
        await self._note(request, context)
        staging = Path(request.staging_target_path)
        if not _is_mounted(staging):
            bind(self._volume(request.volume_id), staging)
        return csiv1.NodeStageVolumeResponse()

    async def NodeUnstageVolume(self, request: Any, context: Any) -> csiv1.NodeUnstageVolumeResponse:
        """Undo it."""
        await self._note(request, context)
        _release(Path(request.staging_target_path))
        return csiv1.NodeUnstageVolumeResponse()

    async def NodePublishVolume(self, request: Any, context: Any) -> csiv1.NodePublishVolumeResponse:
        """A bind mount of what was staged, or of the directory."""
        await self._note(request, context)
        target = Path(request.target_path)
        block = request.volume_capability.HasField("block")
        if block:
            target.touch()
        else:
            target.mkdir(exist_ok=True)
        if not _is_mounted(target):
            source = Path(request.staging_target_path or self._volume(request.volume_id))
            bind(self._device(request.volume_id) if block else source, target, read_only=request.readonly)
        return csiv1.NodePublishVolumeResponse()

    def _device(self, id_: str) -> Path:
        """A block device, with nothing behind it."""
        path = self._volume(id_) / "device"
        if not path.exists():
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(*DEVICE))
        return path

    async def NodeGetVolumeStats(self, request: Any, context: Any) -> csiv1.NodeGetVolumeStatsResponse:
        """Half full."""
        await self._note(request, context)
        usage = csiv1.VolumeUsage
        return csiv1.NodeGetVolumeStatsResponse(
            usage=[
                usage(unit=usage.BYTES, total=4096, used=2048, available=2048),
                usage(unit=usage.INODES, total=10, used=5, available=5),
            ]
        )

    async def NodeExpandVolume(self, request: Any, context: Any) -> csiv1.NodeExpandVolumeResponse:
        """There is nothing to be done for a directory."""
        await self._note(request, context)
        return csiv1.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)

    async def NodeUnpublishVolume(self, request: Any, context: Any) -> csiv1.NodeUnpublishVolumeResponse:
        """Undo it."""
        await self._note(request, context)
        target = Path(request.target_path)
        _release(target)
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)
        return csiv1.NodeUnpublishVolumeResponse()


class Registration(pluginregistration_pb2_grpc.RegistrationServicer):
    """Says who it is."""

    def __init__(self, name: str, endpoint: Path) -> None:
        self._info = registration.PluginInfo(
            type="CSIPlugin", name=name, endpoint=str(endpoint), supported_versions=["1.0.0"]
        )

    async def GetInfo(self, request: Any, context: Any) -> registration.PluginInfo:
        """A CSI driver."""
        return self._info

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> registration.RegistrationStatusResponse:
        """It does not care."""
        return registration.RegistrationStatusResponse()


def _is_mounted(point: Path) -> bool:
    # A bind mount within one file system is no mount to Path.is_mount.
    return point in mounting.mount_points(str(point))


def _release(point: Path) -> None:
    while _is_mounted(point):
        mounting.unmount(point)


async def main() -> None:
    """Serve until SIGTERM."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("name")
    options.add_argument("root", type=Path)
    options.add_argument("folder", type=Path)
    options.add_argument("capabilities", nargs="*")
    chosen = options.parse_args()
    endpoint = chosen.root / "plugins" / chosen.name / "csi.sock"
    register = chosen.root / "plugins_registry" / f"{chosen.name}-reg.sock"
    node, registering = grpc.aio.server(), grpc.aio.server()
    csiv1_grpc.add_NodeServicer_to_server(Node(chosen.folder, chosen.capabilities), node)
    pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(Registration(chosen.name, endpoint), registering)
    for socket, server in ((endpoint, node), (register, registering)):
        socket.parent.mkdir(parents=True, exist_ok=True)
        socket.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    for socket, server in ((register, registering), (endpoint, node)):
        await server.stop(0)
        socket.unlink(missing_ok=True)


if __name__ == "__main__":
    asyncio.run(main())
