"""UpdateContainerResources, ContainerStats, ListContainerStats, PodSandboxStats, ListPodSandboxStats, and metrics."""

import time

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Code, Peer, differs, refused

BURN = "while :; do :; done"


async def update(cri: Peer, container_id: str, **linux: object) -> None:
    resources = criv1.LinuxContainerResources(**linux)  # type: ignore[arg-type]
    await cri.runtime.UpdateContainerResources(
        criv1.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
    )


async def stats(cri: Peer, container_id: str) -> criv1.ContainerStats:
    request = criv1.ContainerStatsRequest(container_id=container_id)
    return (await cri.runtime.ContainerStats(request)).stats


async def listed(cri: Peer, **wanted: object) -> set[str]:
    request = criv1.ListContainerStatsRequest(filter=criv1.ContainerStatsFilter(**wanted))  # type: ignore[arg-type]
    return {item.attributes.id for item in (await cri.runtime.ListContainerStats(request)).stats}


# Resources.


async def test_limits_of_a_running_container_change(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.resources.memory_limit_in_bytes = 32 << 20
    config.linux.resources.cpu_shares = 100
    container = await cri.container(await cri.sandbox(), config)
    await update(cri, container, memory_limit_in_bytes=64 << 20, cpu_period=100_000, cpu_quota=20_000)
    group = "/sys/fs/cgroup"
    script = f"cat {group}/memory/memory.limit_in_bytes {group}/cpu/cpu.cfs_quota_us {group}/cpu/cpu.shares"
    assert (await cri.shell(container, script)).split() == [str(64 << 20), "20000", "100"]


async def test_limits_of_a_created_container_change(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox())
    await update(cri, container, memory_limit_in_bytes=64 << 20, cpu_shares=512)
    await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares"
    assert (await cri.shell(container, script)).split() == [str(64 << 20), "512"]


async def test_changed_limits_are_told(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.resources.cpu_shares = 100
    container = await cri.container(await cri.sandbox(), config)
    await update(cri, container, memory_limit_in_bytes=64 << 20)
    told = (await cri.status(container)).resources.linux
    assert (told.memory_limit_in_bytes, told.cpu_shares) == (64 << 20, 100)


async def test_updates_of_what_is_not_there(cri: Peer) -> None:
    with refused(Code.NOT_FOUND):
        await update(cri, "nosuch", cpu_shares=512)
    container = await cri.container(await cri.sandbox(), cri.container_config("true"))
    await cri.exited(container)
    # What will never run again takes any.
    await update(cri, container, cpu_shares=512)


async def test_a_limit_below_what_is_used_is_refused(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.resources.memory_limit_in_bytes = 32 << 20
    container = await cri.container(await cri.sandbox(), config)
    with refused(Code.UNKNOWN, Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION):
        await update(cri, container, memory_limit_in_bytes=4096)
    # What was refused is not remembered either.
    assert (await cri.shell(container, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes")).strip() == str(32 << 20)


# Statistics of containers.


async def test_container_stats(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", "head -c 200000 /dev/zero > /file; " + BURN, name="busy")
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    container = await cri.container(await cri.sandbox(), config)

    async def measured() -> criv1.ContainerStats | None:
        found = await stats(cri, container)
        return found if found.writable_layer.used_bytes.value >= 200_000 else None

    before = time.time_ns()
    # The plugin collects the sizes of layers every ten seconds.
    found = await until(measured)
    assert found is not None
    assert found.attributes.id == container
    assert found.attributes.metadata == config.metadata
    assert (found.attributes.labels, found.attributes.annotations) == (config.labels, config.annotations)
    assert before - 30_000_000_000 < found.cpu.timestamp <= time.time_ns()
    assert found.cpu.usage_core_nano_seconds.value > 0
    memory = found.memory
    assert 0 < memory.working_set_bytes.value <= memory.usage_bytes.value < 64 << 20
    assert memory.available_bytes.value == (64 << 20) - memory.working_set_bytes.value
    assert memory.rss_bytes.value > 0
    assert found.writable_layer.inodes_used.value > 0
    assert found.writable_layer.fs_id.mountpoint.startswith(str(cri.containerd.data_dir))


async def test_cpu_time_grows(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", BURN))
    first = await stats(cri, container)

    async def more() -> bool:
        now = (await stats(cri, container)).cpu
        return now.usage_core_nano_seconds.value > first.cpu.usage_core_nano_seconds.value + 50_000_000

    await until(more)


async def test_cpu_rate(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", BURN))

    async def rate() -> int:
        return (await stats(cri, container)).cpu.usage_nano_cores.value

    assert await until(rate) > 10_000_000


async def test_lists_of_stats_are_filtered(cri: Peer) -> None:
    sandbox, other = await cri.sandbox(), await cri.sandbox()
    one = await cri.container(sandbox, cri.container_config(name="one"))
    two = await cri.container(sandbox, cri.container_config(name="two"))
    elsewhere = await cri.container(other, cri.container_config(name="one"))
    assert await listed(cri) == {one, two, elsewhere}
    assert await listed(cri, id=one) == {one}
    assert await listed(cri, id=one[:13]) == {one}
    assert await listed(cri, pod_sandbox_id=sandbox) == {one, two}
    assert await listed(cri, label_selector={"container": "one"}) == {one, elsewhere}
    assert await listed(cri, pod_sandbox_id=sandbox, label_selector={"container": "one"}) == {one}
    assert await listed(cri, id="nosuch") == set()
    request = criv1.StreamContainerStatsRequest()
    if cri.where(shim=True, plugin=False, because="the streaming lists came to CRI after containerd 1.6"):
        streamed = [answer async for answer in cri.runtime.StreamContainerStats(request, timeout=30)]
        assert {item.attributes.id for answer in streamed for item in answer.container_stats} == {one, two, elsewhere}


async def test_lists_of_stats_leave_out_what_does_not_run(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    created = await cri.create(sandbox, cri.container_config(name="created"))
    exited = await cri.container(sandbox, cri.container_config("true", name="exited"))
    await cri.exited(exited)
    running = await cri.container(sandbox, cri.container_config(name="running"))
    also = cri.where(shim=set(), plugin={created, exited}, because="the plugin lists them without figures")
    assert await listed(cri, pod_sandbox_id=sandbox) == {running} | also


async def test_stats_of_what_is_not_there(cri: Peer) -> None:
    for name in ("nosuch", ""):
        empty = cri.where(shim=Code.NOT_FOUND, plugin=Code.UNKNOWN, because="the plugin has no code for empty ids")
        with refused(Code.NOT_FOUND if name else empty):
            await stats(cri, name)


async def test_stats_of_a_container_that_does_not_run(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox())
    if cri.where(shim=False, plugin=True, because="the plugin fails where there is no process; ours tells the layer"):
        with refused(Code.UNKNOWN, Code.NOT_FOUND):
            await stats(cri, container)
        return
    found = await stats(cri, container)
    assert found.attributes.id == container
    assert not found.HasField("cpu")
    assert not found.HasField("memory")
    assert found.writable_layer.timestamp


# Statistics of sandboxes.


async def sandbox_stats(cri: Peer, sandbox_id: str) -> criv1.PodSandboxStats:
    request = criv1.PodSandboxStatsRequest(pod_sandbox_id=sandbox_id)
    return (await cri.runtime.PodSandboxStats(request)).stats


async def test_sandbox_stats(cri: Peer) -> None:
    config = cri.sandbox_config("measured")
    sandbox = await cri.sandbox(config)
    container = await cri.container(sandbox, cri.container_config("sh", "-c", BURN))
    found = await sandbox_stats(cri, sandbox)
    assert found.attributes.id == sandbox
    assert found.attributes.metadata == config.metadata
    assert (found.attributes.labels, found.attributes.annotations) == (config.labels, config.annotations)
    assert [c.attributes.id for c in found.linux.containers] == [container]

    async def used() -> bool:
        return (await sandbox_stats(cri, sandbox)).linux.cpu.usage_core_nano_seconds.value > 0

    await until(used)
    assert 0 < found.linux.memory.working_set_bytes.value <= found.linux.memory.usage_bytes.value
    assert found.linux.process.process_count.value >= 1
    network = found.linux.network
    assert network.default_interface.name == "eth0"
    assert network.default_interface.HasField("rx_bytes")
    assert network.default_interface.HasField("tx_errors")


async def test_sandbox_stats_without_containers(cri: Peer) -> None:
    found = await sandbox_stats(cri, await cri.sandbox(host_network=False))
    assert not found.linux.containers
    assert found.linux.network.default_interface.name == "eth0"


async def test_lists_of_sandbox_stats_are_filtered(cri: Peer) -> None:
    first = await cri.sandbox(cri.sandbox_config("first", host_network=True))
    second = await cri.sandbox(cri.sandbox_config("second", host_network=True))
    stopped = await cri.sandbox(cri.sandbox_config("stopped", host_network=True))
    await cri.stop(stopped)

    async def listed(**wanted: object) -> set[str]:
        filtered = criv1.PodSandboxStatsFilter(**wanted)  # type: ignore[arg-type]
        answer = await cri.runtime.ListPodSandboxStats(criv1.ListPodSandboxStatsRequest(filter=filtered))
        return {item.attributes.id for item in answer.stats}

    assert await listed() == {first, second}
    assert await listed(id=first) == {first}
    assert await listed(id=first[:13]) == {first}
    assert await listed(label_selector={"app": "second"}) == {second}
    assert await listed(id="nosuch") == set()
    request = criv1.StreamPodSandboxStatsRequest()
    if cri.where(shim=True, plugin=False, because="the streaming lists came to CRI after containerd 1.6"):
        streamed = [answer async for answer in cri.runtime.StreamPodSandboxStats(request, timeout=30)]
        assert {item.attributes.id for answer in streamed for item in answer.pod_sandbox_stats} == {first, second}


async def test_sandbox_stats_of_what_is_not_there(cri: Peer) -> None:
    with refused(Code.NOT_FOUND):
        await sandbox_stats(cri, "nosuch")


# Metrics.


@differs("plugin", reason="containerd 1.6 does not serve metrics")
async def test_metrics_and_their_descriptors(cri: Peer) -> None:
    descriptors = (await cri.runtime.ListMetricDescriptors(criv1.ListMetricDescriptorsRequest())).descriptors
    keys = {descriptor.name: list(descriptor.label_keys) for descriptor in descriptors}
    assert "container_cpu_usage_seconds_total" in keys
    assert all(descriptor.help for descriptor in descriptors)
    sandbox = await cri.sandbox()
    container = await cri.container(sandbox)
    pods = (await cri.runtime.ListPodSandboxMetrics(criv1.ListPodSandboxMetricsRequest())).pod_metrics
    pod = next(pod for pod in pods if pod.pod_sandbox_id == sandbox)
    assert [c.container_id for c in pod.container_metrics] == [container]
    for metric in (*pod.metrics, *pod.container_metrics[0].metrics):
        assert len(metric.label_values) == len(keys[metric.name])
        assert metric.timestamp


@differs("plugin", reason="containerd 1.6 does not serve metrics")
async def test_metrics_under_the_names_of_cadvisor(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    await cri.container(await cri.sandbox(), config)
    empty = await cri.sandbox(host_network=False)
    pods = (await cri.runtime.ListPodSandboxMetrics(criv1.ListPodSandboxMetricsRequest())).pod_metrics
    of_pods = {pod.pod_sandbox_id: {metric.name for metric in pod.metrics} for pod in pods}
    assert "container_network_receive_bytes_total" in of_pods[empty]
    (metrics,) = (container.metrics for pod in pods for container in pod.container_metrics)
    values = {metric.name: metric.value.value for metric in metrics}
    assert values["container_spec_memory_limit_bytes"] == 64 << 20
    assert values["container_oom_events_total"] == 0
    assert 0 < values["container_start_time_seconds"] <= values["container_last_seen"]


@differs("plugin", reason="the streaming lists came to CRI after containerd 1.6")
async def test_streamed_metrics(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    request = criv1.StreamPodSandboxMetricsRequest()
    streamed = [answer async for answer in cri.runtime.StreamPodSandboxMetrics(request, timeout=30)]
    assert {pod.pod_sandbox_id for answer in streamed for pod in answer.pod_sandbox_metrics} == {sandbox}


@pytest.mark.parametrize("rpc", ["ListMetricDescriptors", "ListPodSandboxMetrics"])
async def test_metrics_are_not_served_by_the_plugin(cri: Peer, rpc: str) -> None:
    request = getattr(criv1, f"{rpc}Request")()
    if cri.where(shim=False, plugin=True, because="containerd 1.6 does not serve metrics"):
        with refused(Code.UNIMPLEMENTED):
            await getattr(cri.runtime, rpc)(request)
