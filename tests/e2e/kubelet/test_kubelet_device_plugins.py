"""Devices of plugins on real containers: by their standard sockets, with a plugin of our own behind them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.kubelet import deviceplugin_pb2 as api
from navarch.protos.kubelet import podresources_pb2 as resources
from navarch.protos.kubelet import podresources_pb2_grpc
from navarch.protos.kubelet.deviceplugin_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)
from navarch.testing.kubelet_lab import Lab

RESOURCE = "navarch.test/gate"


class Plugin(DevicePluginServicer):
    """A plugin whose devices are /dev/null under other names; it prefers the last ones."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder, self.file = folder, file
        self.health = {"gate-0": "Healthy", "gate-1": "Healthy", "gate-2": "Unhealthy"}
        self.changed = asyncio.Condition()
        self.prepared: list[Sequence[str]] = []
        self.server = grpc.aio.server()

    async def start(self) -> None:
        self.server = grpc.aio.server()
        add_DevicePluginServicer_to_server(self, self.server)
        self.server.add_insecure_port(f"unix:{self.folder}/gate.sock")
        await self.server.start()
        async with grpc.aio.insecure_channel(f"unix:{self.folder}/kubelet.sock") as channel:
            options = api.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)
            request = api.RegisterRequest(
                version="v1beta1", endpoint="gate.sock", resource_name=RESOURCE, options=options
            )
            await RegistrationStub(channel).Register(request, wait_for_ready=True, timeout=30)

    async def set(self, device: str, health: str) -> None:
        self.health[device] = health
        async with self.changed:
            self.changed.notify_all()

    async def GetDevicePluginOptions(self, request: Any, context: Any) -> api.DevicePluginOptions:
        raise AssertionError("they were told at the registration")

    async def ListAndWatch(self, request: Any, context: Any) -> AsyncIterator[api.ListAndWatchResponse]:
        while True:
            place = api.TopologyInfo(nodes=[api.NUMANode(ID=0)])
            devices = [api.Device(ID=id_, health=health, topology=place) for id_, health in self.health.items()]
            async with self.changed:
                yield api.ListAndWatchResponse(devices=devices)
                await self.changed.wait()

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Any
    ) -> api.PreferredAllocationResponse:
        response = api.PreferredAllocationResponse()
        for one in request.container_requests:
            response.container_responses.add(deviceIDs=sorted(one.available_deviceIDs)[-one.allocation_size :])
        return response

    async def Allocate(self, request: api.AllocateRequest, context: Any) -> api.AllocateResponse:
        response = api.AllocateResponse()
        for one in request.container_requests:
            answer = response.container_responses.add(envs={"GATES": ",".join(sorted(one.devices_ids))})
            answer.mounts.add(container_path="/gates/plan", host_path=str(self.file), read_only=True)
            for id_ in one.devices_ids:
                answer.devices.add(container_path=f"/dev/{id_}", host_path="/dev/null", permissions="rw")
        return response

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Any
    ) -> api.PreStartContainerResponse:
        self.prepared.append(sorted(request.devices_ids))
        return api.PreStartContainerResponse()


@pytest.fixture
async def plugin(lab: Lab, tmp_path: Path) -> AsyncIterator[Plugin]:
    file = tmp_path / "plan"
    file.write_text("open")
    tmp_path.chmod(0o755)
    made = Plugin(lab.host.root_dir(lab.node) / "device-plugins", file)
    await made.start()
    yield made
    await made.server.stop(0)


@asynccontextmanager
async def monitoring(lab: Lab) -> "AsyncIterator[podresources_pb2_grpc.PodResourcesListerAsyncStub]":
    socket = lab.host.root_dir(lab.node) / "pod-resources" / "kubelet.sock"
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        yield podresources_pb2_grpc.PodResourcesListerStub(channel)


async def offered(lab: Lab, capacity: str, allocatable: str) -> None:
    def holds(node: corev1.Node) -> bool:
        found = node.status.capacity[RESOURCE].string, node.status.allocatable[RESOURCE].string
        return found == (capacity, allocatable)

    await lab.until(corev1.Node, lab.node, holds, "")


def asking(count: int, **more: Any) -> list[dict[str, Any]]:
    limits = {"limits": {RESOURCE: str(count)}}
    return [{"name": "main", "command": ["sh", "-c", "exec sleep 3600"], "resources": limits, **more}]


async def held(lab: Lab, name: str) -> list[str]:
    """What the monitoring socket says that a Pod's container has, once the kubelet knows the Pod."""
    request = resources.GetPodResourcesRequest(pod_name=name, pod_namespace=lab.namespace)

    async def known() -> resources.GetPodResourcesResponse | None:
        try:
            return await stub.Get(request, wait_for_ready=True, timeout=30)
        except grpc.aio.AioRpcError as failure:
            assert failure.code() == grpc.StatusCode.NOT_FOUND
            return None

    async with monitoring(lab) as stub:
        answer = await lab.eventually(known, f"the kubelet knows {name}")
    assert answer is not None
    [container] = answer.pod_resources.containers
    return [id_ for one in container.devices for id_ in one.device_ids]


def shown(pod: corev1.Pod) -> dict[str, str]:
    [status] = pod.status.container_statuses
    return {one.resource_id: one.health for entry in status.allocated_resources_status for one in entry.resources}


async def test_a_container_gets_its_devices_and_others_are_turned_away(lab: Lab, plugin: Plugin) -> None:
    await offered(lab, "3", "2")
    before = asking(1, name="before", command=["sh", "-c", "echo $GATES"])
    await lab.create("first", containers=asking(2), initContainers=before)
    await lab.running("first")
    assert await lab.exec("first", "sh", "-c", "echo $GATES; cat /gates/plan") == "gate-0,gate-1\nopen"
    await lab.exec("first", "sh", "-c", "test -c /dev/gate-0 && echo x > /dev/gate-1 && ! touch /gates/plan")
    # The container after the init container got its device, too.
    assert plugin.prepared == [["gate-1"], ["gate-0", "gate-1"]]
    assert sorted(await held(lab, "first")) == ["gate-0", "gate-1"]
    async with monitoring(lab) as stub:
        free = await stub.GetAllocatableResources(resources.AllocatableResourcesRequest(), timeout=30)
        everything = await stub.List(resources.ListPodResourcesRequest(), timeout=30)
    assert [(list(one.device_ids), one.topology.nodes[0].ID) for one in free.devices] == [
        (["gate-0"], 0),
        (["gate-1"], 0),
    ]
    assert (lab.namespace, "first") in {(one.namespace, one.name) for one in everything.pod_resources}

    await lab.create("second", containers=asking(1))
    refused = await lab.ended("second")
    assert refused.status.reason == "UnexpectedAdmissionError"
    told = f"requested number of devices unavailable for {RESOURCE}. Requested: 1, Available: 0"
    assert refused.status.message == f"Pod was rejected: Allocate failed due to {told}, which is unexpected"

    await plugin.set("gate-0", "Unhealthy")
    await lab.when("first", lambda pod: shown(pod) == {"gate-0": "Unhealthy", "gate-1": "Healthy"})
    await offered(lab, "3", "1")
    await lab.delete("first")
    await lab.gone("first")
    await lab.create("third", containers=asking(1))
    await lab.running("third")
    assert await held(lab, "third") == ["gate-1"]


async def test_devices_stay_with_their_container_when_kubelet_and_plugin_come_back(lab: Lab, plugin: Plugin) -> None:
    await offered(lab, "3", "2")
    await lab.create("holder", containers=asking(1), restartPolicy="OnFailure")
    await lab.running("holder")
    await plugin.server.stop(0)
    await offered(lab, "3", "0")

    lab.kill_kubelet()
    await lab.start_kubelet()
    assert await held(lab, "holder") == ["gate-1"]
    await plugin.start()
    await offered(lab, "3", "2")
    await lab.create("greedy", containers=asking(2))
    assert (await lab.ended("greedy")).status.reason == "UnexpectedAdmissionError"
    pod = await lab.running("holder")
    container_id = pod.status.container_statuses[0].container_id.rpartition("/")[2]
    await lab.cri.stop_container(container_id, 0)
    await lab.when("holder", lambda pod: pod.status.container_statuses[0].restart_count == 1)
    await lab.running("holder")
    assert await lab.exec("holder", "sh", "-c", "echo $GATES") == "gate-1\n"
    assert plugin.prepared == [["gate-1"], ["gate-1"]]
