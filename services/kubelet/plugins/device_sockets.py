"""The sockets of a kubelet by which others learn of devices: where plugins register, and where monitors ask."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.kubelet import deviceplugin_pb2 as plugin
from navarch.protos.kubelet import deviceplugin_pb2_grpc, podresources_pb2_grpc
from navarch.protos.kubelet import podresources_pb2 as resources
from navarch.services.base.log import get_logger
from navarch.services.base.serving import GrpcServer, RpcStatus
from navarch.services.kubelet.core.devices import Devices
from navarch.services.kubelet.plugins.devices import BadRegistration, DeviceManager

VERSION = "v1beta1"
SOCKET = "kubelet.sock"
POD_RESOURCES = "pod-resources"
# The system calls' own limit, for the terminating zero included.
LONGEST_PATH = 107


class NoSuchPod(Exception):
    """The node has no such Pod."""


class KnowsCpus(Protocol):
    """The manager of CPUs, as monitors see it."""

    @property
    def allocatable(self) -> frozenset[int]:
        """What containers can have of their own at most."""
        ...

    def of(self, uid: str, container: str) -> frozenset[int]:
        """The CPUs that a container has of its own."""
        ...


class DeviceSockets:
    """`device-plugins/kubelet.sock` and `pod-resources/kubelet.sock`. pods: those that run or are about to."""

    def __init__(
        self, root: Path, manager: DeviceManager, pods: Callable[[], Iterable[corev1.Pod]], cpus: KnowsCpus
    ) -> None:
        self._root = root.absolute()
        self._manager = manager
        self._pods = pods
        self._cpus = cpus
        self._servers: list[GrpcServer] = []
        self._log = get_logger("kubelet.devices")

    async def start(self) -> None:
        """Serve. A root whose name is too long for sockets has none: that is told, and the rest goes on."""
        self._manager.start()
        registration = GrpcServer(None, translate=_translate, component="kubelet.devices")
        registration.add(deviceplugin_pb2_grpc.add_RegistrationServicer_to_server, Registrations(self._manager))
        monitoring = GrpcServer(None, translate=_translate, component="kubelet.devices")
        lister = PodResources(self._manager, self._pods, self._cpus)
        monitoring.add(podresources_pb2_grpc.add_PodResourcesListerServicer_to_server, lister)
        await self._serve(registration, self._manager.folder.absolute() / SOCKET)
        await self._serve(monitoring, self._root / POD_RESOURCES / SOCKET)

    async def _serve(self, server: GrpcServer, path: Path) -> None:
        if len(str(path).encode()) > LONGEST_PATH:
            self._log.error("socket.impossible", path=path, error=f"longer than {LONGEST_PATH} bytes")
            return
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        await server.start(f"unix:{path}")
        self._servers.append(server)

    async def stop(self) -> None:
        """Serve no more. Safe after a failed start."""
        for server in self._servers:
            await server.stop(0.5)
        await self._manager.stop()


class Registrations(deviceplugin_pb2_grpc.RegistrationServicer):
    """v1beta1.Registration."""

    def __init__(self, manager: DeviceManager) -> None:
        self._manager = manager

    async def Register(
        self, request: plugin.RegisterRequest, context: grpc.aio.ServicerContext[plugin.RegisterRequest, plugin.Empty]
    ) -> plugin.Empty:
        """A plugin has come."""
        if request.version != VERSION:
            raise BadRegistration(
                f'requested API version "{request.version}" is not supported by kubelet. '
                f'Supported version is "{VERSION}"'
            )
        if Path(request.endpoint).name != request.endpoint:
            raise BadRegistration(f'endpoint: found "{request.endpoint}", expected a name in {self._manager.folder}')
        self._manager.plug_in(request.resource_name, self._manager.folder / request.endpoint, request.options)
        return plugin.Empty()


class PodResources(podresources_pb2_grpc.PodResourcesListerServicer):
    """v1.PodResourcesLister."""

    def __init__(self, manager: DeviceManager, pods: Callable[[], Iterable[corev1.Pod]], cpus: KnowsCpus) -> None:
        self._manager = manager
        self._pods = pods
        self._cpus = cpus

    async def List(
        self, request: resources.ListPodResourcesRequest, context: object
    ) -> resources.ListPodResourcesResponse:
        """What each container has."""
        return resources.ListPodResourcesResponse(pod_resources=map(self._of, self._pods()))

    async def Get(
        self, request: resources.GetPodResourcesRequest, context: object
    ) -> resources.GetPodResourcesResponse:
        """What the containers of one Pod have."""
        for pod in self._pods():
            if (pod.metadata.namespace, pod.metadata.name) == (request.pod_namespace, request.pod_name):
                return resources.GetPodResourcesResponse(pod_resources=self._of(pod))
        raise NoSuchPod(f"pod {request.pod_name} in namespace {request.pod_namespace} not found")

    async def GetAllocatableResources(
        self, request: resources.AllocatableResourcesRequest, context: object
    ) -> resources.AllocatableResourcesResponse:
        """All devices and CPUs that containers may have."""
        known = self._manager.devices.resources
        return resources.AllocatableResourcesResponse(
            devices=[
                container_device(self._manager.devices, name, id_)
                for name in sorted(known)
                for id_ in known[name].healthy()
            ],
            cpu_ids=sorted(self._cpus.allocatable),
        )

    def _of(self, pod: corev1.Pod) -> resources.PodResources:
        return pod_resources(self._manager.devices, pod, self._cpus.of)


def pod_resources(
    devices: Devices, pod: corev1.Pod, cpus: Callable[[str, str], Iterable[int]] = lambda *_: ()
) -> resources.PodResources:
    """What the containers of a Pod have that run together: an init container has gone when somebody asks."""
    sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    return resources.PodResources(
        name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        containers=[
            resources.ContainerResources(
                name=container.name,
                devices=[
                    container_device(devices, one.resource, id_)
                    for one in devices.of(pod.metadata.uid, container.name)
                    for id_ in one.devices
                ],
                cpu_ids=sorted(cpus(pod.metadata.uid, container.name)),
            )
            for container in [*sidecars, *pod.spec.containers]
        ],
    )


def container_device(devices: Devices, resource: str, id_: str) -> resources.ContainerDevices:
    """One device, and where it is."""
    known = devices.resources[resource].devices.get(id_) if resource in devices.resources else None
    found = resources.ContainerDevices(resource_name=resource, device_ids=[id_])
    if known is not None and known.topology.nodes:
        found.topology.nodes.extend(resources.NUMANode(ID=node.ID) for node in known.topology.nodes)
    return found


def _translate(failure: Exception) -> RpcStatus | None:
    if isinstance(failure, NoSuchPod):
        return grpc.StatusCode.NOT_FOUND, str(failure), ()
    if isinstance(failure, BadRegistration):
        return grpc.StatusCode.INVALID_ARGUMENT, str(failure), ()
    return None
