"""The containerd backend, put together: one containerd, one state folder, all the parts."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from google.protobuf import empty_pb2

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import cdi, cni, lookups
from navarch.runtime_shim.containerd.cgroup_driver import CgroupDriver
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.containers import Containers
from navarch.runtime_shim.containerd.features import RuntimeFeatures
from navarch.runtime_shim.containerd.handlers import DEFAULT as DEFAULT_HANDLER
from navarch.runtime_shim.containerd.handlers import Handler, Handlers
from navarch.runtime_shim.containerd.image_volumes import ImageVolumes
from navarch.runtime_shim.containerd.images.options import PullOptions
from navarch.runtime_shim.containerd.images.service import ImageService
from navarch.runtime_shim.containerd.log_keeper_client import LogKeeperClient
from navarch.runtime_shim.containerd.maker import Maker
from navarch.runtime_shim.containerd.metrics import Metrics
from navarch.runtime_shim.containerd.monitor import Monitor
from navarch.runtime_shim.containerd.pod_init import PodInit
from navarch.runtime_shim.containerd.processes import Processes
from navarch.runtime_shim.containerd.recovery import Recovery
from navarch.runtime_shim.containerd.rootfs import RootFilesystems
from navarch.runtime_shim.containerd.sandboxes import Sandboxes
from navarch.runtime_shim.containerd.stats import Stats
from navarch.runtime_shim.containerd.streaming import Streaming
from navarch.runtime_shim.containerd.world import World
from navarch.runtime_shim.records import StateDir
from navarch.services.base.clock import Clock, SystemClock

RUNTIME_NAME = "navarch"
RUNTIME_VERSION = "0.1.0"
CRI_VERSION = "v1"
# The contract's own version, in VersionResponse.version.
KUBE_API_VERSION = "0.1.0"
# On start containerd usually comes up beside us; the socket opens when it is there, or after this time.
FIRST_CONNECT_S = 5.0
# Below the state folder: what is gone at the next start.
SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Config:
    """state_dir: ours alone, below it namespaces are bound. containerd_root: the file system of images."""

    containerd_socket: Path
    state_dir: Path
    containerd_root: Path
    namespace: str = "k8s.io"
    snapshotter: str = "overlayfs"
    cni_conf_dir: Path = Path("/etc/cni/net.d")
    cni_bin_dirs: tuple[Path, ...] = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
    cdi_directories: tuple[Path, ...] = cdi.DIRECTORIES
    pull: PullOptions = field(default_factory=PullOptions)
    # Runtimes besides runc.
    handlers: tuple[Handler, ...] = ()
    cgroup_driver: CgroupDriver = CgroupDriver.CGROUPFS


class ContainerdBackend:
    """Implements `navarch.runtime_shim.backend.Backend`."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        state = StateDir(config.state_dir)
        scratch = config.state_dir / SCRATCH
        cgroups = Cgroups(driver=config.cgroup_driver)
        systemd = config.cgroup_driver is CgroupDriver.SYSTEMD
        handlers = Handlers(config.state_dir, config.handlers, systemd_cgroup=systemd)
        self.world = World(state, clock or SystemClock())
        self._client = client = ContainerdClient(config.containerd_socket, config.namespace)
        self.images = ImageService(
            client, config.snapshotter, scratch, config.containerd_root, self.world.clock, config.pull
        )
        image_volumes = ImageVolumes(client, self.images, config.snapshotter)
        roots = RootFilesystems(client, config.snapshotter, scratch, self.world.mappings)
        features = RuntimeFeatures(handlers)
        maker = Maker(
            self.world, client, roots, cgroups, scratch, handlers, features, image_volumes, config.cdi_directories
        )
        self._keeper = LogKeeperClient(
            config.state_dir, self.world.clock, self.world.containers.keys, self.world.open_pipes
        )
        self.containers = Containers(self.world, client, self.images, cgroups, maker, self._keeper)
        executor = cni.Executor(config.cni_bin_dirs)
        init = PodInit(client, cgroups, handlers, config.state_dir)
        self.sandboxes = Sandboxes(
            self.world, executor, config.cni_conf_dir, cgroups, self.containers, handlers, init, roots
        )
        processes = Processes(client, self.world)
        self.streaming = Streaming(self.world, client, processes)
        stats = Stats(self.world, cgroups, self.images.usages, config.containerd_root)
        recovery = Recovery(self.world, client, self.sandboxes, self.containers, roots, image_volumes, self._keeper)
        self.monitor = Monitor(client, self.world, self.containers, recovery.recover, self.sandboxes.init_ended)
        node = Node(client, self.sandboxes, self.monitor, config, handlers, features)
        parts = (self.sandboxes, self.containers, processes, stats, Metrics(self.world, cgroups))
        self.runtime = Runtime(node, parts, self.world, self.monitor)

    async def start(self) -> None:
        """Return when everything is rediscovered; sooner only where containerd stays away for long."""
        await asyncio.to_thread(self._config.state_dir.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(lookups.clear, self._config.state_dir / SCRATCH)
        self._keeper.start()
        self.monitor.start()
        both = asyncio.gather(self.monitor.ready.wait(), self._keeper.connected.wait())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(both, FIRST_CONNECT_S)

    async def stop(self) -> None:
        """Let go: partial lines of logs are written, containers run on."""
        await self.monitor.stop()
        for container in self.world.containers.values():
            self.containers.close_output(container, remove=False)
        await self._keeper.stop()
        await self._client.close()


class Runtime:
    """RuntimeService as one object: each RPC is a method of one of the parts.

    Before the world is known, after a start without containerd, only the node's own RPCs are answered.
    """

    def __init__(self, node: "Node", parts: tuple[object, ...], world: World, monitor: Monitor) -> None:
        self._node = node
        self._parts = parts
        self._world = world
        self._monitor = monitor

    def __getattr__(self, name: str) -> Any:
        if (own := getattr(self._node, name, None)) is not None:
            return own
        for part in self._parts:
            if (method := getattr(part, name, None)) is not None:
                return self._guarded(method)
        raise AttributeError(name)

    def get_container_events(self, request: criv1.GetEventsRequest) -> Any:
        """All events from now on."""
        return self._world.events()

    def _guarded(self, method: Any) -> Any:
        async def call(request: Any) -> Any:
            if not self._monitor.recovered:
                raise errors.Unavailable("containerd has not answered yet: containers are not known")
            return await method(request)

        return call


class Node:
    """The RPCs about the runtime as a whole; answered also without containerd."""

    def __init__(
        self,
        client: ContainerdClient,
        sandboxes: Sandboxes,
        monitor: Monitor,
        config: Config,
        handlers: Handlers,
        features: RuntimeFeatures,
    ) -> None:
        self._client = client
        self._sandboxes = sandboxes
        self._monitor = monitor
        self._config = config
        self._handlers = handlers
        self._features = features

    async def version(self, request: criv1.VersionRequest) -> criv1.VersionResponse:
        """Names and versions."""
        return criv1.VersionResponse(
            version=KUBE_API_VERSION,
            runtime_name=RUNTIME_NAME,
            runtime_version=RUNTIME_VERSION,
            runtime_api_version=CRI_VERSION,
        )

    async def status(self, request: criv1.StatusRequest) -> criv1.StatusResponse:
        """RuntimeReady: containerd answers. NetworkReady: there is a network configuration."""
        answer = criv1.StatusResponse()
        containerd = await self._containerd_version()
        answer.status.conditions.append(
            criv1.RuntimeCondition(type="RuntimeReady", status=True)
            if containerd
            else _condition("RuntimeReady", "ContainerdUnreachable", f"no answer at {self._config.containerd_socket}")
        )
        try:
            network: cni.NetworkConfig | None = await self._sandboxes.working_network()
            condition = criv1.RuntimeCondition(type="NetworkReady", status=True)
        except errors.ShimError as failure:
            network, condition = None, _condition("NetworkReady", "NetworkPluginNotReady", str(failure))
        answer.status.conditions.append(condition)
        for name in ("", *self._handlers.names):
            can = await self._features.of(name)
            features = answer.runtime_handlers.add(name=name).features
            features.recursive_read_only_mounts = can.recursive_read_only_mounts
            features.user_namespaces = can.user_namespaces
        answer.features.supplemental_groups_policy = True
        if request.verbose:
            answer.info.update(self._verbose_info(containerd, network))
        return answer

    def _verbose_info(self, containerd: str, network: cni.NetworkConfig | None) -> dict[str, str]:
        """For people; with the keys of containerd's own CRI plugin, which tools look for."""
        used = self._config
        config = {
            "containerd": {
                "snapshotter": used.snapshotter,
                "defaultRuntimeName": DEFAULT_HANDLER,
                "runtimes": self._handlers.document(),
            },
            "cni": {"binDirs": list(map(str, used.cni_bin_dirs)), "confDir": str(used.cni_conf_dir)},
            "containerdEndpoint": str(used.containerd_socket),
            "containerdVersion": containerd,
            "stateDir": str(used.state_dir),
        }
        networks = [{"Config": network.document(), "IFName": cni.INTERFACE}] if network else []
        cni_config = {"PluginConfDir": str(used.cni_conf_dir), "Networks": networks}
        return {"config": orjson.dumps(config).decode(), "cniconfig": orjson.dumps(cni_config).decode()}

    async def runtime_config(self, request: criv1.RuntimeConfigRequest) -> criv1.RuntimeConfigResponse:
        """How control groups are named."""
        linux = criv1.LinuxRuntimeConfiguration(cgroup_driver=self._config.cgroup_driver.cri)
        return criv1.RuntimeConfigResponse(linux=linux)

    async def update_runtime_config(
        self, request: criv1.UpdateRuntimeConfigRequest
    ) -> criv1.UpdateRuntimeConfigResponse:
        """The Pod CIDR is the network configuration's affair."""
        return criv1.UpdateRuntimeConfigResponse()

    async def _containerd_version(self) -> str:
        try:
            answer = await self._client.version.Version(empty_pb2.Empty(), timeout=2.0)
        except errors.ShimError:
            return ""
        version: str = answer.version
        return version


def _condition(kind: str, reason: str, message: str) -> criv1.RuntimeCondition:
    return criv1.RuntimeCondition(type=kind, status=False, reason=reason, message=message)
