"""Exec, attach, port-forward, logs and statistics."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import node_pb2
from navarch.protos.navarch.streaming_pb2 import (
    ContainerAttachRequest,
    ContainerAttachStart,
    ContainerExecRequest,
    ContainerExecStart,
    SandboxPortForwardRequest,
    SandboxPortForwardStart,
)
from navarch.runtime_shim.containerd.processes import OUTPUT_BYTES

from .conftest import Shim, until


@pytest.fixture
async def container(shim: Shim) -> str:
    """A running container."""
    sandbox = await shim.run_pod(shim.pod("exec", host_network=True))
    return await shim.start(sandbox, shim.container())


async def test_exec_sync(shim: Shim, container: str) -> None:
    answer = await shim.exec(container, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out\n", b"err\n", 7)


async def test_exec_sync_returns_all_output_up_to_the_cap(shim: Shim, container: str) -> None:
    answer = await shim.exec(container, "sh", "-c", "head -c 20000000 /dev/zero; echo end >&2", timeout_s=60)
    assert (len(answer.stdout), answer.stderr) == (OUTPUT_BYTES - len(answer.stderr), b"end\n")


async def test_exec_sync_times_out_and_kills(shim: Shim, container: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="timed out after 1 s") as failure:
        await shim.exec(container, "sleep", "4711", timeout_s=1)
    assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await shim.exec(container, "sh", "-c", "ps | grep [4]711")).exit_code == 1


async def test_a_command_that_ends_its_container_is_answered(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("brief", host_network=True))

    async def live(name: str) -> int:
        container = await shim.start(sandbox, shim.container("sh", "-c", "until [ -e /out ]; do :; done", name=name))
        return (await shim.exec(container, "touch", "/out")).exit_code

    # Side by side, since only on a busy host is the container gone before its command has been asked about.
    assert set(await asyncio.gather(*(live(f"brief-{number}") for number in range(12)))) <= {0, 137}


async def test_exec_of_what_does_not_exist(shim: Shim, container: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="executable file not found"):
        await shim.exec(container, "nosuch")
    assert list((shim.containerd.layout.shim_state / "containers" / container).glob("exec-*")) == []


async def collect(answers: AsyncIterable[node_pb2.ExecResponse]) -> tuple[bytes, bytes, int | None]:
    stdout, stderr, code = b"", b"", None
    async for answer in answers:
        stdout += answer.stdout
        stderr += answer.stderr
        if answer.WhichOneof("response") == "exit_code":
            code = answer.exit_code
    return stdout, stderr, code


async def test_exec_stream_with_input(shim: Shim, container: str) -> None:
    async def requests() -> AsyncIterator[ContainerExecRequest]:
        command = ["sh", "-c", "cat; echo done >&2; exit 4"]
        yield ContainerExecRequest(start=ContainerExecStart(container_id=container, command=command, stdin=True))
        for _ in range(50):
            yield ContainerExecRequest(stdin=b"x" * 4000)
        yield ContainerExecRequest(close_stdin=True)

    assert await collect(shim.streaming.Exec(requests(), timeout=30)) == (b"x" * 200_000, b"done\n", 4)


async def test_exec_stream_with_a_terminal(shim: Shim, container: str) -> None:
    sized = asyncio.Event()

    async def requests() -> AsyncIterator[ContainerExecRequest]:
        command = ["sh", "-c", "tty; read line; stty size"]
        start = ContainerExecStart(container_id=container, command=command, stdin=True, tty=True)
        yield ContainerExecRequest(start=start)
        yield ContainerExecRequest(resize=node_pb2.TerminalSize(width=97, height=31))
        yield ContainerExecRequest(stdin=b"go\n")
        await sized.wait()

    stdout = b""
    async for answer in shim.streaming.Exec(requests(), timeout=30):
        stdout += answer.stdout
        if answer.WhichOneof("response") == "exit_code":
            assert answer.exit_code == 0
            sized.set()
    assert b"/dev/pts/" in stdout
    assert b"31 97" in stdout


async def test_a_slow_reader_makes_the_process_wait(shim: Shim, container: str) -> None:
    async def requests() -> AsyncIterator[ContainerExecRequest]:
        yield ContainerExecRequest(
            start=ContainerExecStart(container_id=container, command=["sh", "-c", "yes | head -c 100000000"])
        )

    call = shim.streaming.Exec(requests(), timeout=120)
    received = 0
    async for answer in call:
        # The reader pauses where an unbounded queue would fill.
        await asyncio.sleep(0.3 if not received else 0)
        received += len(answer.stdout)
    assert (received, answer.exit_code) == (100_000_000, 0)


async def test_the_end_of_the_stream_ends_the_process(shim: Shim, container: str) -> None:
    async def requests() -> AsyncIterator[ContainerExecRequest]:
        yield ContainerExecRequest(
            start=ContainerExecStart(container_id=container, command=["sh", "-c", "echo up; exec sleep 4712"])
        )

    call = shim.streaming.Exec(requests())
    first = await call.read()
    assert isinstance(first, node_pb2.ExecResponse)
    assert first.stdout == b"up\n"
    call.cancel()

    async def gone() -> bool:
        return (await shim.exec(container, "sh", "-c", "ps | grep [4]712")).exit_code != 0

    await until(gone)


async def test_attach(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("attach", host_network=True))
    config = shim.container("sh", "-c", "while read line; do echo got $line; done; exit 6")
    config.stdin = config.stdin_once = True
    container = await shim.start(sandbox, config)

    async def requests() -> AsyncIterator[ContainerAttachRequest]:
        yield ContainerAttachRequest(start=ContainerAttachStart(container_id=container, stdin=True))
        yield ContainerAttachRequest(stdin=b"one\ntwo\n")
        yield ContainerAttachRequest(close_stdin=True)

    assert await collect(shim.streaming.Attach(requests(), timeout=30)) == (b"got one\ngot two\n", b"", 6)
    assert [text for _, _, text in await shim.log(container)] == ["got one", "got two"]


async def test_who_is_attached_and_too_slow_is_told(shim: Shim) -> None:
    """The container is not held up, and nobody waits for an end that never comes."""
    sandbox = await shim.run_pod(shim.pod("attach", host_network=True))
    script = "read line; echo up; head -c 100000000 /dev/zero; touch /written; sleep 1000000"
    config = shim.container("sh", "-c", script)
    config.stdin, config.log_path = True, ""
    container = await shim.start(sandbox, config)

    async def requests() -> AsyncIterator[ContainerAttachRequest]:
        yield ContainerAttachRequest(start=ContainerAttachStart(container_id=container, stdin=True))
        yield ContainerAttachRequest(stdin=b"go\n")
        await asyncio.Event().wait()

    attached = aiter(shim.streaming.Attach(requests()))
    assert (await anext(attached)).stdout

    async def written() -> bool:
        return (await shim.exec(container, "test", "-e", "/written")).exit_code == 0

    await until(written)
    with pytest.raises(grpc.aio.AioRpcError, match="slowly") as failure:
        await collect(attached)
    assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_port_forward(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("forward"))
    script = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www"
    container = await shim.start(sandbox, shim.container("sh", "-c", script))
    await shim.exec(container, "sh", "-c", "until wget -qO- http://127.0.0.1:8080/; do sleep 0.05; done")

    async def requests(port: int) -> AsyncIterator[SandboxPortForwardRequest]:
        yield SandboxPortForwardRequest(start=SandboxPortForwardStart(pod_sandbox_id=sandbox, port=port))
        yield SandboxPortForwardRequest(data=b"GET /index.html HTTP/1.0\r\n\r\n")

    answers = [answer.data async for answer in shim.streaming.PortForward(requests(8080), timeout=30)]
    assert b"".join(answers).endswith(b"hello\n")
    with pytest.raises(grpc.aio.AioRpcError, match=r"port 8081 of sandbox .*111"):
        _ = [answer async for answer in shim.streaming.PortForward(requests(8081), timeout=30)]


async def test_long_lines_are_cut_and_marked(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("long", host_network=True))
    script = "head -c 40000 /dev/zero | tr '\\\\0' x; echo; printf 'no newline'"
    container = await shim.start(sandbox, shim.container("sh", "-c", script))
    await shim.exited(container)
    records = await shim.log(container)
    assert [(tag, len(text)) for _, tag, text in records] == [("P", 16384), ("P", 16384), ("F", 7232), ("P", 10)]


async def test_log_rotation(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("rotate", host_network=True))
    container = await shim.start(
        sandbox, shim.container("sh", "-c", "echo old; while [ ! -e /go ]; do sleep 0.02; done; echo new")
    )
    log = Path((await shim.status(container)).log_path)

    async def written() -> bool:
        return "old" in log.read_text()

    await until(written)
    log.rename(log.with_suffix(".rotated"))
    await shim.runtime.ReopenContainerLog(criv1.ReopenContainerLogRequest(container_id=container))
    await shim.exec(container, "touch", "/go")
    await shim.exited(container)
    assert [text for _, _, text in await shim.log(container)] == ["new"]


async def test_statistics(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("stats"))
    container = await shim.start(
        sandbox, shim.container("sh", "-c", "dd if=/dev/zero of=/file bs=1M count=3; while :; do :; done")
    )
    request = criv1.ContainerStatsRequest(container_id=container)

    async def measured() -> bool:
        stats = (await shim.runtime.ContainerStats(request)).stats
        return stats.cpu.usage_nano_cores.value > 0 and stats.writable_layer.used_bytes.value >= 3 << 20

    await until(measured)
    stats = (await shim.runtime.ContainerStats(request)).stats
    assert stats.memory.working_set_bytes.value > 0
    pod = (await shim.runtime.PodSandboxStats(criv1.PodSandboxStatsRequest(pod_sandbox_id=sandbox))).stats
    assert pod.linux.cpu.usage_core_nano_seconds.value > 0
    assert pod.linux.network.default_interface.name == "eth0"
    assert pod.linux.process.process_count.value >= 1
    listed = (await shim.runtime.ListContainerStats(criv1.ListContainerStatsRequest())).stats
    assert [entry.attributes.id for entry in listed] == [container]


async def test_metrics(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("metrics"))
    config = shim.container("sh", "-c", "yes > /dev/null & exec sleep 1000")
    container = await shim.start(sandbox, config)
    described = (await shim.runtime.ListMetricDescriptors(criv1.ListMetricDescriptorsRequest())).descriptors
    keys = {one.name: tuple(one.label_keys) for one in described}
    assert len(keys) == len(described)
    name = config.metadata.name

    async def metrics() -> dict[tuple[str, str, str], int]:
        (pod,) = (await shim.runtime.ListPodSandboxMetrics(criv1.ListPodSandboxMetricsRequest())).pod_metrics
        (own,) = pod.container_metrics
        assert (pod.pod_sandbox_id, own.container_id) == (sandbox, container)
        found = {}
        for metric in (*pod.metrics, *own.metrics):
            labels = dict(zip(keys[metric.name], metric.label_values, strict=True))
            assert (labels["namespace"], labels["pod"]) == ("default", "metrics")
            found[metric.name, labels.get("interface", ""), labels["container"]] = metric.value.value
        return found

    async def has_counted() -> bool:
        return (await metrics())["container_cpu_usage_seconds_total", "", name] >= 1

    await until(has_counted)
    found = await metrics()
    assert found["container_cpu_usage_seconds_total", "", name] < 100
    assert found["container_memory_working_set_bytes", "", name] > 0
    assert found["container_processes", "", name] == 2
    assert ("container_network_receive_bytes_total", "eth0", "") in found
    streamed = [
        one
        async for answer in shim.runtime.StreamPodSandboxMetrics(criv1.StreamPodSandboxMetricsRequest())
        for one in answer.pod_sandbox_metrics
    ]
    assert [one.pod_sandbox_id for one in streamed] == [sandbox]


async def test_new_limits_for_a_running_container(shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("limits", host_network=True))
    config = shim.container()
    config.linux.resources.memory_limit_in_bytes = 64 << 20
    container = await shim.start(sandbox, config)
    limits = criv1.LinuxContainerResources(memory_limit_in_bytes=96 << 20, cpu_shares=512)
    request = criv1.UpdateContainerResourcesRequest(container_id=container, linux=limits)
    await shim.runtime.UpdateContainerResources(request)
    status = await shim.status(container)
    assert status.resources.linux.memory_limit_in_bytes == 96 << 20
    group = f"{shim.containerd.cgroup_root}/limits/{container}"
    limit_files = list(Path("/sys/fs/cgroup").glob(f"memory{group}/memory.limit_in_bytes"))
    limit_files += list(Path("/sys/fs/cgroup").glob(f"{group.lstrip('/')}/memory.max"))
    assert [int(path.read_text()) for path in limit_files] == [96 << 20]
