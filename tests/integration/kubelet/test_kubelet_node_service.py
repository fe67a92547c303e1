"""The kubelet's own gRPC service."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2


async def test_logs(lab: Any) -> None:
    await lab.create("web", {"log": "hello"})
    await lab.running("web")
    assert await lab.logs("web") == "hello\n"
    assert (await lab.logs("web", timestamps=True)).endswith("Z hello\n")
    assert await lab.logs("web", limit_bytes=2) == "he"


async def test_followed_logs_end_with_the_container(lab: Any) -> None:
    await lab.create("job", {"log": "hello", "exit-after-seconds": "0.3"}, restartPolicy="Never")
    await lab.when("job", lambda pod: pod.status.phase == "Running")
    assert await lab.logs("job", follow=True) == "hello\n"


async def test_the_log_of_the_run_before(lab: Any) -> None:
    await lab.create("crash", {"log": "hello", "exit-after-seconds": "0.05", "exit-code": "1"})
    await lab.when(
        "crash", lambda pod: pod.status.container_statuses and pod.status.container_statuses[0].restart_count
    )
    assert await lab.logs("crash", previous=True) == "hello\n"


@pytest.mark.parametrize(
    ("pod", "options", "code", "message"),
    [
        ("none", {}, grpc.StatusCode.NOT_FOUND, 'pods "none" not found'),
        ("web", {"container": "x"}, grpc.StatusCode.INVALID_ARGUMENT, "container x is not valid for pod web"),
        ("web", {"previous": True}, grpc.StatusCode.INVALID_ARGUMENT, "previous terminated container"),
        ("two", {}, grpc.StatusCode.INVALID_ARGUMENT, "a container name must be specified for pod two"),
        ("stuck", {}, grpc.StatusCode.INVALID_ARGUMENT, "is waiting to start: "),
    ],
)
async def test_refusals(lab: Any, pod: str, options: Any, code: grpc.StatusCode, message: str) -> None:
    await lab.create("web")
    await lab.running("web")
    await lab.create("two", containers=[{"name": name, "image": "app:1"} for name in "ab"])
    await lab.create("stuck", {"pull-error": "no"}, containers=[{"name": "main", "image": "broken:1"}])
    await lab.when("stuck", lambda pod: pod.status.container_statuses)
    await lab.when("two", lambda pod: pod.status.container_statuses)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await lab.logs(pod, **options)
    assert refusal.value.code() is code
    assert message in refusal.value.details()


async def test_strangers_are_turned_away(lab: Any) -> None:
    stub = await lab.node("system:node:n2", "system:nodes")
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.Pods(node_pb2.PodsRequest())
    assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_pods_and_stats(lab: Any) -> None:
    await lab.create("web", {"memory-bytes": "4096"})
    await lab.running("web")
    stub = await lab.node()
    answer = await stub.Pods(node_pb2.PodsRequest())
    pod = corev1.Pod()
    assert answer.pods[0].Unpack(pod)
    assert (pod.metadata.name, pod.status.phase) == ("web", "Running")
    stats = await stub.Stats(node_pb2.StatsRequest())
    assert [(entry.name, entry.containers[0].memory_working_set_bytes) for entry in stats.pods] == [("web", 4096)]


async def test_exec_in_what_does_not_run_is_refused(lab: Any) -> None:
    await lab.create("stuck", {"pull-error": "no"}, containers=[{"name": "main", "image": "broken:1"}])
    await lab.when("stuck", lambda pod: pod.status.container_statuses)
    stub = await lab.node()

    async def requests() -> AsyncIterator[node_pb2.ExecRequest]:
        yield node_pb2.ExecRequest(start=node_pb2.ExecStart(namespace="default", pod="stuck", command=["true"]))

    with pytest.raises(grpc.aio.AioRpcError, match="is not running"):
        [answer async for answer in stub.Exec(requests())]
