"""RunPodSandbox, StopPodSandbox, RemovePodSandbox, PodSandboxStatus, ListPodSandbox, UpdatePodSandboxResources."""

import asyncio
import json
import time

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, differs, refused

State = criv1.PodSandboxState
NodeMode, PodMode = criv1.NamespaceMode.NODE, criv1.NamespaceMode.POD


async def listed(cri: Peer, **wanted: object) -> list[str]:
    """Ids, in the order of the answer."""
    request = criv1.ListPodSandboxRequest(filter=criv1.PodSandboxFilter(**wanted))  # type: ignore[arg-type]
    return [item.id for item in (await cri.runtime.ListPodSandbox(request)).items]


async def test_a_sandbox_is_what_was_asked_for(cri: Peer) -> None:
    config = cri.sandbox_config("asked")
    config.metadata.attempt = 3
    before = time.time_ns()
    sandbox = await cri.sandbox(config, handler="runc")
    status = await cri.sandbox_status(sandbox)
    assert status.id == sandbox
    assert len(sandbox) == 64
    assert status.metadata == config.metadata
    assert status.state == State.SANDBOX_READY
    assert before <= status.created_at <= time.time_ns()
    assert status.labels == config.labels
    assert status.annotations == config.annotations
    assert status.runtime_handler == "runc"
    options = status.linux.namespaces.options
    assert (options.network, options.pid, options.ipc) == (PodMode, criv1.NamespaceMode.CONTAINER, PodMode)
    assert status.network.ip.startswith(cri.where(shim="10.214.", plugin="10.215.", because="subnets of their own"))
    assert not status.network.additional_ips


async def test_a_sandbox_in_a_list(cri: Peer) -> None:
    config = cri.sandbox_config("listed", host_network=True)
    sandbox = await cri.sandbox(config, handler="runc")
    item = next(i for i in (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items if i.id == sandbox)
    status = await cri.sandbox_status(sandbox)
    assert item.metadata == config.metadata
    assert (item.state, item.created_at) == (status.state, status.created_at)
    assert (item.labels, item.annotations) == (config.labels, config.annotations)
    assert item.runtime_handler == "runc"


async def test_on_the_network_of_the_host_a_sandbox_has_no_address(cri: Peer) -> None:
    status = await cri.sandbox_status(await cri.sandbox(host_network=True))
    assert status.network.ip == ""
    assert status.linux.namespaces.options.network == NodeMode


async def test_verbose_status(cri: Peer) -> None:
    config = cri.sandbox_config("verbose", host_network=True)
    sandbox = await cri.sandbox(config)
    request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
    info = json.loads((await cri.runtime.PodSandboxStatus(request)).info["info"])
    assert info["config"]["metadata"]["name"] == "verbose"
    assert "namespaces" in info["runtimeSpec"]["linux"]
    assert bool(info["pid"]) == cri.where(shim=False, plugin=True, because="our sandboxes have no process")
    assert not (await cri.runtime.PodSandboxStatus(criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox))).info


@differs("plugin", reason="containers and time in PodSandboxStatus came to CRI after containerd 1.6")
async def test_status_tells_of_the_containers_at_one_moment(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    container = await cri.container(sandbox)
    answer = await cri.runtime.PodSandboxStatus(criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox))
    assert answer.containers_statuses == [await cri.status(container)]
    assert answer.timestamp <= time.time_ns()


async def test_filters(cri: Peer) -> None:
    first = await cri.sandbox(cri.sandbox_config("first", host_network=True))
    second = await cri.sandbox(cri.sandbox_config("second", host_network=True))
    await cri.stop(second)
    ready = criv1.PodSandboxStateValue(state=State.SANDBOX_READY)
    stopped = criv1.PodSandboxStateValue(state=State.SANDBOX_NOTREADY)
    assert set(await listed(cri)) == {first, second}
    assert await listed(cri, state=ready) == [first]
    assert await listed(cri, state=stopped) == [second]
    assert await listed(cri, id=first) == [first]
    assert await listed(cri, id=first[:13]) == [first]
    assert await listed(cri, id="nosuch") == []
    assert await listed(cri, label_selector={"app": "second"}) == [second]
    assert await listed(cri, label_selector={"app": "second", "other": ""}) == []
    assert await listed(cri, id=first, state=stopped) == []
    assert await listed(cri, id=first, state=ready, label_selector={"app": "first"}) == [first]


@differs("plugin", reason="the streaming lists came to CRI after containerd 1.6")
async def test_streamed_list(cri: Peer) -> None:
    sandboxes = {await cri.sandbox() for _ in range(3)}
    request = criv1.StreamPodSandboxesRequest()
    streamed = [answer async for answer in cri.runtime.StreamPodSandboxes(request, timeout=30)]
    assert {item.id for answer in streamed for item in answer.pod_sandboxes} == sandboxes


async def test_an_abbreviated_id_will_do(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    assert (await cri.sandbox_status(sandbox[:12])).id == sandbox
    await cri.stop(sandbox[:12])
    await cri.remove(sandbox[:12])
    assert await listed(cri) == []


async def test_stop(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    containers = [await cri.container(sandbox, cri.container_config(name=name)) for name in ("one", "two")]
    await cri.stop(sandbox)
    assert (await cri.sandbox_status(sandbox)).state == State.SANDBOX_NOTREADY
    assert [await cri.state(container) for container in containers] == ["EXITED", "EXITED"]
    assert {(await cri.status(container)).exit_code for container in containers} == {137}
    code = cri.where(shim=Code.FAILED_PRECONDITION, plugin=Code.NOT_FOUND, because="the plugin misses its process")
    with refused(code):
        await cri.create(sandbox, cri.container_config(name="late"))


async def test_the_address_stays_known_after_the_stop(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    address = (await cri.sandbox_status(sandbox)).network.ip
    await cri.stop(sandbox)
    expected = cri.where(
        shim=address,
        plugin="",
        because="the plugin tells addresses of ready sandboxes only",
    )
    assert (await cri.sandbox_status(sandbox)).network.ip == expected


async def test_stop_and_remove_are_idempotent(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    at_once = cri.where(shim=3, plugin=1, because="its stops of one sandbox race in the CNI plugins")
    await asyncio.gather(*(cri.stop(sandbox) for _ in range(at_once)))
    await cri.stop(sandbox)
    for _ in range(2):
        await cri.remove(sandbox)
    assert await listed(cri) == []


async def test_what_never_was_is_removed(cri: Peer) -> None:
    await cri.remove("nosuch")


@differs("plugin", reason="containerd 1.6 answers NOT_FOUND; from 1.7 on it is done as it should be")
async def test_what_never_was_is_stopped(cri: Peer) -> None:
    await cri.stop("nosuch")


async def test_remove_does_not_need_a_stop(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    await cri.container(sandbox, cri.container_config(name="running"))
    await cri.create(sandbox, cri.container_config(name="created"))
    await cri.remove(sandbox)
    assert await listed(cri) == []
    wanted = criv1.ContainerFilter(pod_sandbox_id=sandbox)
    assert not (await cri.runtime.ListContainers(criv1.ListContainersRequest(filter=wanted))).containers


async def test_unknown_ids(cri: Peer) -> None:
    for name in ("nosuch", "", "0" * 64):
        empty = cri.where(shim=Code.NOT_FOUND, plugin=Code.UNKNOWN, because="the plugin has no code for empty ids")
        with refused(Code.NOT_FOUND if name else empty):
            await cri.sandbox_status(name)


async def test_a_name_is_taken_until_the_sandbox_is_removed(cri: Peer) -> None:
    config = cri.sandbox_config("named", host_network=True)
    sandbox = await cri.sandbox(config)
    code = cri.where(shim=Code.ALREADY_EXISTS, plugin=Code.UNKNOWN, because="the plugin's error has no code")
    with refused(code, match="named_default_uid-named_0"):
        await cri.sandbox(config)
    await cri.stop(sandbox)
    with refused(code):
        await cri.sandbox(config)
    again = criv1.PodSandboxConfig()
    again.CopyFrom(config)
    again.metadata.attempt = 1
    await cri.sandbox(again)
    await cri.remove(sandbox)
    await cri.sandbox(config)


async def test_of_calls_for_one_name_at_once_one_succeeds(cri: Peer) -> None:
    config = cri.sandbox_config("raced", host_network=True)
    answers = await asyncio.gather(*(cri.sandbox(config) for _ in range(5)), return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, str)]
    assert await listed(cri) == made
    assert len(made) == 1


async def test_an_unknown_runtime_handler_is_refused_and_its_name_is_free_again(cri: Peer) -> None:
    config = cri.sandbox_config("handled", host_network=True)
    code = cri.where(shim=Code.INVALID_ARGUMENT, plugin=Code.UNKNOWN, because="the plugin's error has no code")
    with refused(code, match="nosuch"):
        await cri.sandbox(config, handler="nosuch")
    await cri.sandbox(config)


async def test_a_sandbox_needs_metadata(cri: Peer) -> None:
    config = cri.sandbox_config(host_network=True)
    config.ClearField("metadata")
    code = cri.where(shim=Code.INVALID_ARGUMENT, plugin=Code.UNKNOWN, because="the plugin's error has no code")
    with refused(code):
        await cri.sandbox(config)
    assert await listed(cri) == []


async def test_a_failed_network_leaves_nothing(cri: Peer) -> None:
    config = cri.sandbox_config("broken")
    config.linux.sysctls["net.ipv4.nosuch"] = "1"
    with refused(*(Code.UNKNOWN, Code.INVALID_ARGUMENT), match="nosuch"):
        await cri.sandbox(config)
    assert await listed(cri) == []
    config.linux.sysctls.clear()
    await cri.sandbox(config)


async def test_sandboxes_of_one_moment(cri: Peer) -> None:
    sandboxes = await asyncio.gather(*(cri.sandbox(host_network=False) for _ in range(8)))
    assert len(set(sandboxes)) == 8
    addresses = {(await cri.sandbox_status(sandbox)).network.ip for sandbox in sandboxes}
    assert len(addresses) == 8


@differs("plugin", reason="UpdatePodSandboxResources came to CRI after containerd 1.6")
async def test_update_sandbox_resources(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    resources = criv1.LinuxContainerResources(cpu_shares=512, memory_limit_in_bytes=64 << 20)
    request = criv1.UpdatePodSandboxResourcesRequest(pod_sandbox_id=sandbox, resources=resources)
    await cri.runtime.UpdatePodSandboxResources(request)
    request.pod_sandbox_id = "nosuch"
    with refused(Code.NOT_FOUND):
        await cri.runtime.UpdatePodSandboxResources(request)
