"""Devices: what there is, who gets which, and what a kubelet that starts finds on disk."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.kubelet import deviceplugin_pb2 as plugin
from navarch.protos.kubelet.deviceplugin_pb2_grpc import DevicePluginServicer, add_DevicePluginServicer_to_server
from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.admissions import Admissions
from navarch.services.kubelet.core import device_checkpoint
from navarch.services.kubelet.core.device_checkpoint import CorruptCheckpoint
from navarch.services.kubelet.core.device_options import add_devices
from navarch.services.kubelet.core.devices import AWAY_S, Allocation, Devices, NoDevices, Offer, Request, Reuse
from navarch.services.kubelet.core.orders import Admitted, Rejected
from navarch.services.kubelet.core.references import ConfigError
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.plugins.device_sockets import container_device, pod_resources
from navarch.services.kubelet.plugins.devices import BadRegistration, DeviceManager

from .conftest import a_pod

GPU = "vendor.example/gpu"


def some(**health: str) -> list[plugin.Device]:
    return [plugin.Device(ID=id_, health=state.capitalize()) for id_, state in health.items()]


def gpus(*held: tuple[str, str, str], **health: str) -> Devices:
    """Devices of which some are held: by uid, container and ID."""
    devices = Devices(now=100.0)
    devices.reported(GPU, some(**health))
    for uid, container, id_ in held:
        devices.allocated(allocation(uid, container, id_))
    return devices


def allocation(uid: str, container: str, *ids: str) -> Allocation:
    return Allocation(uid, container, GPU, ids, plugin.ContainerAllocateResponse(envs={"IDS": ",".join(ids)}))


@pytest.mark.parametrize(
    ("size", "had", "preferred", "chosen"),
    [
        (1, (), (), ("a",)),
        (2, (), ("c",), ("c", "a")),
        (2, (), ("c", "c", "b", "a"), ("c", "b")),
        (2, (), ("z",), ("a", "b")),
        (2, ("x",), ("x", "b"), ("x", "b")),
        (1, ("x",), ("a",), ("x",)),
        (3, (), (), ("a", "b", "c")),
    ],
)
def test_a_plugin_says_which_devices_it_prefers(size: int, had: Any, preferred: Any, chosen: Any) -> None:
    assert Request("main", GPU, size, had, ("a", "b", "c")).choose(preferred) == chosen


@pytest.mark.parametrize(
    ("devices", "size", "reusable", "expected"),
    [
        (gpus(b="healthy", a="healthy"), 1, (), ((), ("a", "b"))),
        (gpus(a="healthy", b="unhealthy", c="healthy"), 2, (), ((), ("a", "c"))),
        (gpus(("other", "main", "a"), a="healthy", b="healthy"), 1, (), ((), ("b",))),
        (gpus(("me", "init", "a"), a="healthy", b="healthy"), 2, ("a",), (("a",), ("b",))),
        (gpus(("me", "init", "a"), a="healthy", b="healthy"), 1, ("a",), (("a",), ("b",))),
        (gpus(("me", "main", "a"), a="healthy"), 1, (), None),
        (
            gpus(("other", "main", "a"), a="healthy"),
            1,
            (),
            f"unavailable for {GPU}. Requested: 1, Available: 0",
        ),
        (gpus(a="healthy", b="unhealthy"), 2, (), "Requested: 2, Available: 1"),
        (gpus(("me", "init", "a"), a="healthy", b="healthy"), 3, ("a",), "Requested: 2, Available: 1"),
        (
            gpus(a="unhealthy"),
            1,
            (),
            f"no healthy devices present; .* devices {GPU}",
        ),
        (gpus(("me", "main", "a"), a="unhealthy", b="healthy"), 1, (), "previously allocated devices are no longer"),
    ],
)
def test_what_there_is_for_a_container(devices: Devices, size: int, reusable: Any, expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(NoDevices, match=expected):
            devices.request("me", "main", GPU, size, reusable)
        return
    request = devices.request("me", "main", GPU, size, reusable)
    assert (request and (request.had, request.free)) == expected


def test_a_plugin_that_went_away_leaves_its_capacity_for_a_while() -> None:
    devices = gpus(a="healthy", b="unhealthy")
    assert devices.offer(100.0) == Offer({GPU: 2}, {GPU: 1})
    devices.left(GPU, 200.0)
    assert devices.offer(200.0 + AWAY_S - 1) == Offer({GPU: 2}, {GPU: 0})
    assert devices.offer(200.0 + AWAY_S) == Offer({GPU: 0}, {GPU: 0})
    devices.reported(GPU, some(a="healthy"))
    assert devices.offer(900.0) == Offer({GPU: 1}, {GPU: 1})


def test_an_init_container_leaves_its_devices_to_those_after_it_and_a_sidecar_does_not() -> None:
    reuse = Reuse()
    reuse.done([allocation("me", "first", "a", "b")], ends=True)
    assert list(reuse.of(GPU)) == ["a", "b"]
    reuse.done([allocation("me", "sidecar", "a")], ends=False)
    assert list(reuse.of(GPU)) == ["b"]
    reuse.done([allocation("me", "second", "b", "c")], ends=True)
    assert list(reuse.of(GPU)) == ["b", "c"]
    reuse.done([allocation("me", "main", "c")], ends=False)
    assert list(reuse.of(GPU)) == ["b"]


def test_what_ended_pods_had_is_free_again() -> None:
    devices = gpus(("one", "main", "a"), ("two", "main", "b"), a="healthy", b="healthy")
    assert devices.release(lambda held: held.uid == "one")
    assert not devices.release(lambda held: held.uid == "one")
    assert [held.uid for held in devices.allocations()] == ["two"]


def test_the_status_of_a_container_tells_how_its_devices_are() -> None:
    devices = gpus(("me", "main", "a"), a="unhealthy")
    devices.allocated(allocation("me", "main", "a", "b", "lost"))
    devices.reported(GPU, some(a="unhealthy", b="healthy"))
    [status] = devices.health("me", "main")
    states = {one.resource_id: one.health for one in status.resources}
    assert (status.name, states) == (GPU, {"a": "Unhealthy", "b": "Healthy", "lost": "Unknown"})
    assert not devices.health("me", "other")


def test_monitors_hear_of_each_device_where_it_is_and_of_no_init_container() -> None:
    devices = Devices()
    devices.reported(GPU, [plugin.Device(ID="a", health="Healthy", topology={"nodes": [{"ID": 1}]})])
    containers = [{"name": "init"}, {"name": "side", "restartPolicy": "Always"}]
    pod = a_pod(initContainers=containers, containers=[{"name": "main"}])
    for name in ("init", "side", "main"):
        devices.allocated(allocation(pod.metadata.uid, name, "a", "b"))
    found = pod_resources(devices, pod)
    assert [one.name for one in found.containers] == ["side", "main"]
    first, second = found.containers[1].devices
    assert (first.resource_name, list(first.device_ids), first.topology.nodes[0].ID) == (GPU, ["a"], 1)
    assert not second.HasField("topology")
    assert list(container_device(Devices(), GPU, "a").device_ids) == ["a"]


# The file


def test_a_kubelet_that_starts_finds_who_has_what() -> None:
    devices = gpus(("one", "main", "a"), a="healthy")
    devices.allocated(allocation("two", "main", "b", "c"))
    devices.reported(GPU, [plugin.Device(ID="b", health="Healthy", topology={"nodes": [{"ID": 0}, {"ID": 1}]})])
    found = device_checkpoint.read(device_checkpoint.written(devices), 50.0)
    assert found.allocations() == devices.allocations()
    # Its devices are known when the plugin has come back.
    assert found.offer(50.0) == Offer({GPU: 0}, {GPU: 0})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        device_checkpoint.written(gpus(("one", "main", "a"), a="healthy"))[:-9],
        device_checkpoint.written(gpus(("one", "main", "a"), a="healthy")).replace('"one"', '"two"'),
    ],
)
def test_a_damaged_file_is_not_believed(text: str) -> None:
    with pytest.raises(CorruptCheckpoint):
        device_checkpoint.read(text, 0.0)


# The container


def test_a_container_gets_what_the_plugin_says_and_its_own_spec_wins() -> None:
    config = criv1.ContainerConfig(
        envs=[criv1.KeyValue(key="MODE", value=b"own")],
        mounts=[criv1.Mount(container_path="/data", host_path="/own")],
        annotations={"a": "own"},
    )
    response = plugin.ContainerAllocateResponse(
        envs={"MODE": "theirs", "IDS": "a"},
        mounts=[
            plugin.Mount(container_path="/data", host_path="/theirs"),
            plugin.Mount(container_path="/lib", host_path="/usr/lib", read_only=True),
        ],
        devices=[plugin.DeviceSpec(container_path="/dev/a", host_path="/dev/null", permissions="rw")],
        annotations={"a": "theirs", "b": "theirs"},
        cdi_devices=[plugin.CDIDevice(name="vendor.example/gpu=a")],
    )
    add_devices(config, [response, response])
    assert {one.key: one.value for one in config.envs} == {"MODE": b"own", "IDS": b"a"}
    assert [(one.container_path, one.host_path, one.readonly) for one in config.mounts] == [
        ("/data", "/own", False),
        ("/lib", "/usr/lib", True),
    ]
    assert [(one.container_path, one.host_path, one.permissions) for one in config.devices] == [
        ("/dev/a", "/dev/null", "rw")
    ]
    assert dict(config.annotations) == {"a": "own", "b": "theirs"}
    assert [one.name for one in config.CDI_devices] == ["vendor.example/gpu=a"]


# The manager


def a_manager(root: Path) -> DeviceManager:
    manager = DeviceManager(root, SystemClock(), lambda uid: True, lambda: None)
    manager.start()
    return manager


def asking(count: int) -> corev1.Pod:
    return a_pod(containers=[{"name": "main", "resources": {"limits": {GPU: str(count)}}}])


async def test_sockets_of_a_dead_kubelet_go_and_its_file_stays(tmp_path: Path) -> None:
    manager = a_manager(tmp_path)
    manager.devices = gpus(("one", "main", "a"), a="healthy")
    (manager.folder / device_checkpoint.FILE).write_text(device_checkpoint.written(manager.devices))
    (manager.folder / "notes").write_text("of somebody else")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(manager.folder / "old.sock"))
    found = a_manager(tmp_path)
    assert {path.name for path in found.folder.iterdir()} == {device_checkpoint.FILE, "notes"}
    assert found.devices.allocations() == manager.devices.allocations()


async def test_a_damaged_file_does_not_keep_a_kubelet_from_starting(tmp_path: Path) -> None:
    file = a_manager(tmp_path).folder / device_checkpoint.FILE
    file.write_text("{")
    assert not a_manager(tmp_path).devices.allocations()


async def test_a_pod_without_its_plugin_is_turned_away_and_holds_nothing(tmp_path: Path) -> None:
    manager = a_manager(tmp_path)
    manager.devices = gpus(a="healthy")
    refusal = await manager.allocate(asking(1))
    assert refusal is not None
    assert refusal.reason == "UnexpectedAdmissionError"
    assert f"endpoint not found in cache for a registered resource: {GPU}" in refusal.message
    assert not manager.devices.allocations()


async def test_a_resource_has_a_vendor(tmp_path: Path) -> None:
    manager = a_manager(tmp_path)
    for name in ("gpu", "kubernetes.io/gpu", "cpu", "requests.vendor.example/gpu"):
        with pytest.raises(BadRegistration, match=f'the ResourceName "{name}" is invalid'):
            manager.plug_in(name, manager.folder / "x.sock")


class Stubborn(DevicePluginServicer):
    """A plugin that has a device, and never gives it away."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def GetDevicePluginOptions(self, request: Any, context: Any) -> plugin.DevicePluginOptions:
        return plugin.DevicePluginOptions(pre_start_required=True)

    async def ListAndWatch(self, request: Any, context: Any) -> AsyncIterator[plugin.ListAndWatchResponse]:
        yield plugin.ListAndWatchResponse(devices=some(a="healthy"))
        await asyncio.Event().wait()

    async def GetPreferredAllocation(self, request: Any, context: Any) -> plugin.PreferredAllocationResponse:
        raise AssertionError("it has not said that it can")

    async def Allocate(self, request: Any, context: Any) -> plugin.AllocateResponse:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody ends the wait")

    async def PreStartContainer(self, request: Any, context: Any) -> plugin.PreStartContainerResponse:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
        raise AssertionError("abort has raised")


async def test_a_plugin_that_leaves_while_it_is_asked_keeps_nobody_waiting(tmp_path: Path) -> None:
    told = asyncio.Event()
    manager = DeviceManager(tmp_path, SystemClock(), lambda uid: True, told.set)
    manager.start()
    path, stubborn, server = manager.folder / "x.sock", Stubborn(), grpc.aio.server()
    add_DevicePluginServicer_to_server(stubborn, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        manager.plug_in(GPU, path)
        await asyncio.wait_for(told.wait(), 30)
        assert manager.offer() == Offer({GPU: 1}, {GPU: 1})
        pod = asking(1)
        manager.devices.allocated(allocation("other", "main", "a"))
        other = asking(1)
        other.metadata.uid = "other"
        with pytest.raises(ConfigError, match="err: rpc error: code = FailedPrecondition desc = not today"):
            await manager.equip(other, other.spec.containers[0], criv1.ContainerConfig())
        manager.pod_ended("other")

        work = asyncio.create_task(manager.allocate(pod))
        await asyncio.wait_for(stubborn.asked.wait(), 30)
        manager.unplug(GPU, path)
        refusal = await asyncio.wait_for(work, 30)
        assert refusal is not None
        assert f"device plugin of {GPU} went away" in refusal.message
        async with asyncio.timeout(30):
            while manager.offer() != Offer({GPU: 1}, {GPU: 0}):
                told.clear()
                await told.wait()
    finally:
        await manager.stop()
        await server.stop(0)


async def test_a_plugin_that_registers_again_at_once_is_followed_once(tmp_path: Path) -> None:
    told = asyncio.Event()
    manager = DeviceManager(tmp_path, SystemClock(), lambda uid: True, told.set)
    manager.start()
    path, server = manager.folder / "x.sock", grpc.aio.server()
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    try:
        # Nobody answers yet: the first ones are left while they wait to be connected.
        for _ in range(3):
            manager.plug_in(GPU, path)
            for _ in range(20):
                await asyncio.sleep(0)
        add_DevicePluginServicer_to_server(Stubborn(), server)
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        manager.plug_in(GPU, path)
        await asyncio.wait_for(told.wait(), 30)
        assert manager.offer() == Offer({GPU: 1}, {GPU: 1})
    finally:
        await manager.stop()
        await server.stop(0)
    assert failures == []


# Admission


@dataclass
class SlowDevices:
    """Gives devices when it is let."""

    answer: Rejected | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    ended: list[str] = field(default_factory=list)

    def counted(self) -> list[str]:
        return [GPU]

    def wanted(self, pod: corev1.Pod) -> bool:
        return any(GPU in container.resources.limits for container in pod.spec.containers)

    async def allocate(self, pod: corev1.Pod) -> Rejected | None:
        await self.go.wait()
        return self.answer

    def pod_ended(self, uid: str) -> None:
        self.ended.append(uid)


class Worker:
    """A Pod that waits to be let in."""

    def __init__(self, pod: corev1.Pod) -> None:
        self.uid = pod.metadata.uid
        self.told: list[object] = []
        self.view = SimpleNamespace(pod=pod, name=pod.metadata.name)
        self.machine = SimpleNamespace(awaits_admission=True, stage=Stage.NEW, runs_nothing=False, has_left=False)

    def tell(self, event: object) -> None:
        self.told.append(event)


@pytest.mark.parametrize(
    ("answer", "deleted", "told", "given_back"),
    [
        (None, False, [Admitted()], False),
        (Rejected("UnexpectedAdmissionError", "none"), False, [Rejected("UnexpectedAdmissionError", "none")], False),
        (None, True, [], True),
    ],
)
async def test_a_pod_is_let_in_when_it_has_its_devices(
    answer: Rejected | None, deleted: bool, told: list[object], given_back: bool
) -> None:
    node = corev1.Node()
    for resource, amount in (("cpu", "1"), ("pods", "1")):
        node.status.allocatable[resource].string = amount
    worker, second = Worker(asking(1)), Worker(asking(0))
    second.uid = second.view.pod.metadata.uid = "second"
    admissions = Admissions(lambda: cast(Any, [worker, second]), lambda: node)
    devices, work = SlowDevices(answer), list[asyncio.Task[None]]()

    def spawn(job: Coroutine[None, None, None], name: str) -> None:
        work.append(asyncio.create_task(job))

    admissions.devices, admissions.spawn = devices, spawn
    admissions.judge(cast(Any, worker))
    assert worker.told == []
    # Meanwhile it takes the only place.
    admissions.judge(cast(Any, second))
    assert [cast(Rejected, one).reason for one in second.told] == ["OutOfpods"]
    worker.machine.awaits_admission = not deleted
    devices.go.set()
    await asyncio.gather(*work)
    assert worker.told == told
    assert devices.ended == ([worker.uid] if given_back else [])
