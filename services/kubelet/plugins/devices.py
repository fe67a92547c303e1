"""Gives the devices of plugins to containers (device plugin API v1beta1).

Plugins register at a socket in `device-plugins`, below the kubelet's root; each says which devices it has until it
goes away. A Pod gets its devices before it is let in, one Pod after the other, and gives them back when it has ended.
Who has what is on disk before it is used, so that a kubelet that starts knows it. All sockets go when the kubelet
starts: by that plugins see that they have to register again.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.kubelet import deviceplugin_pb2 as plugin
from navarch.services.api.validation.resources import is_extended
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.kubelet.core import device_checkpoint
from navarch.services.kubelet.core.device_checkpoint import CorruptCheckpoint
from navarch.services.kubelet.core.device_options import add_devices
from navarch.services.kubelet.core.devices import Allocation, Devices, NoDevices, Offer, Reuse
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.core.references import ConfigError
from navarch.services.kubelet.plugins.device_endpoint import DeviceEndpoint

FOLDER = "device-plugins"


class BadRegistration(ValueError):
    """A plugin that cannot be taken: says what was found and what is accepted."""


class DeviceManager:
    """The devices of one node. holds: whether the Pod of a uid may have devices."""

    def __init__(self, root: Path, clock: Clock, holds: Callable[[str], bool], on_change: Callable[[], None]) -> None:
        self.folder = root / FOLDER
        self._clock = clock
        self._holds = holds
        self._on_change = on_change
        self._log = get_logger("kubelet.devices")
        self._tasks = TaskOwner()
        self._endpoints: dict[str, DeviceEndpoint] = {}
        # The resources whose plugin has to be told of each container that starts.
        self._prepared: set[str] = set()
        self._allocating = asyncio.Lock()
        self.devices = Devices()

    def start(self) -> None:
        """Learn who has which devices; whatever sockets are left are of no use any more."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        file = self.folder / device_checkpoint.FILE
        try:
            self.devices = device_checkpoint.read(file.read_text(), self._clock.monotonic())
        except FileNotFoundError:
            self._log.debug("checkpoint.none", file=file)
        except CorruptCheckpoint as failure:
            self._log.error("checkpoint.corrupt", file=file, error=failure)

    async def stop(self) -> None:
        """Hear of plugins no more; containers keep their devices."""
        await self._tasks.close()
        for endpoint in list(self._endpoints.values()):
            await endpoint.close()

    # Plugins

    def plug_in(self, resource: str, socket: Path, options: plugin.DevicePluginOptions | None = None) -> None:
        """Follow the plugin at a socket; the one that had the resource before is left. options: None to ask for them.

        Raises BadRegistration when there cannot be such a resource.
        """
        if not is_extended(resource):
            raise BadRegistration(f'the ResourceName "{resource}" is invalid')
        endpoint = DeviceEndpoint(resource, socket, options)
        former, self._endpoints[resource] = self._endpoints.get(resource), endpoint
        self._tasks.spawn(self._follow(endpoint, former), f"devices-{resource}")
        self._log.info("plugin.registered", resource=resource, socket=socket)

    def unplug(self, resource: str, socket: Path) -> None:
        """The plugin at a socket has taken its leave."""
        endpoint = self._endpoints.get(resource)
        if endpoint is not None and endpoint.socket == socket:
            self._tasks.spawn(endpoint.close(), f"leave-{resource}")

    async def _follow(self, endpoint: DeviceEndpoint, former: DeviceEndpoint | None) -> None:
        if former is not None:
            await former.close()
        try:
            await endpoint.follow(partial(self._told, endpoint))
        finally:
            if self._endpoints.get(endpoint.resource) is endpoint:
                del self._endpoints[endpoint.resource]
                self.devices.left(endpoint.resource, self._clock.monotonic())
                self._on_change()
            await endpoint.close()

    def _told(self, endpoint: DeviceEndpoint, devices: Iterable[plugin.Device]) -> None:
        if self._endpoints.get(endpoint.resource) is endpoint:
            self.devices.reported(endpoint.resource, devices)
            (self._prepared.add if endpoint.prepares else self._prepared.discard)(endpoint.resource)
            self._save_if_possible()
            self._on_change()

    def offer(self) -> Offer:
        """What the Node says of the devices."""
        return self.devices.offer(self._clock.monotonic())

    # Pods

    def counted(self) -> Sequence[str]:
        """The resources that are given away here alone."""
        return tuple(self.devices.resources)

    def wanted(self, pod: corev1.Pod) -> bool:
        """Whether a Pod asks for devices."""
        return self.devices.wanted(pod)

    async def allocate(self, pod: corev1.Pod) -> Rejected | None:
        """Give a Pod all devices that it asks for; the refusal when it cannot have them, and then it has none."""
        async with self._allocating:
            self.devices.release(lambda one: not self._holds(one.uid))
            before = self.devices.allocations()
            try:
                await self._allocate(pod)
                self._save()
            except (NoDevices, OSError) as failure:
                self.devices.release(lambda one: one not in before)
                self._save_if_possible()
                message = f"Pod was rejected: Allocate failed due to {failure}, which is unexpected"
                return Rejected("UnexpectedAdmissionError", message)
        return None

    async def _allocate(self, pod: corev1.Pod) -> None:
        uid, reuse = pod.metadata.uid, Reuse()
        for container in pod.spec.init_containers:
            await self._give(uid, container, reuse)
            reuse.done(self.devices.of(uid, container.name), ends=container.restart_policy != "Always")
        for container in pod.spec.containers:
            await self._give(uid, container, reuse)
            reuse.done(self.devices.of(uid, container.name), ends=False)

    async def _give(self, uid: str, container: corev1.Container, reuse: Reuse) -> None:
        for resource, size in self.devices.asked(container).items():
            request = self.devices.request(uid, container.name, resource, size, reuse.of(resource))
            if request is None:
                continue
            endpoint = self._endpoint(resource)
            chosen = tuple(await endpoint.choose(request))
            response = await endpoint.allocate(chosen)
            self.devices.allocated(Allocation(uid, container.name, resource, chosen, response))

    def _endpoint(self, resource: str) -> DeviceEndpoint:
        if (endpoint := self._endpoints.get(resource)) is None:
            raise NoDevices(f"endpoint not found in cache for a registered resource: {resource}")
        return endpoint

    async def equip(self, pod: corev1.Pod, container: corev1.Container, config: criv1.ContainerConfig) -> None:
        """Give a container that is to start its devices. Raises ConfigError."""
        uid, name = pod.metadata.uid, container.name
        refusal: Rejected | None = None
        if set(self.devices.asked(container)) - {one.resource for one in self.devices.of(uid, name)}:
            # Let in by a kubelet that did not know of the plugin, or whose file is lost.
            refusal = await self.allocate(pod)
        if refusal is not None:
            raise ConfigError(refusal.message)
        allocations = self.devices.of(uid, name)
        try:
            for one in allocations:
                if one.resource in self._prepared:
                    await self._endpoint(one.resource).pre_start(one.devices)
        except NoDevices as failure:
            raise ConfigError(f"device plugin PreStartContainer rpc failed with err: {failure}") from failure
        add_devices(config, (one.response for one in allocations))

    def health(self, uid: str, container: str) -> Sequence[corev1.ResourceStatus]:
        """How the devices of a container are."""
        return self.devices.health(uid, container)

    def pod_ended(self, uid: str) -> None:
        """A Pod holds nothing any more."""
        if self.devices.release(lambda one: one.uid == uid):
            self._save_if_possible()

    def _save_if_possible(self) -> None:
        """For what is safe to be found as it was before."""
        try:
            self._save()
        except OSError as failure:
            self._log.error("checkpoint.unwritten", file=failure.filename, error=failure)

    def _save(self) -> None:
        """On disk before it is used, and never half."""
        file = self.folder / device_checkpoint.FILE
        staging = file.with_suffix(".new")
        with staging.open("w") as stream:
            stream.write(device_checkpoint.written(self.devices))
            stream.flush()
            os.fsync(stream.fileno())
        staging.replace(file)
