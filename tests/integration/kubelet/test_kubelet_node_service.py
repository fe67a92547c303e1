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


async def test_images_are_listed_with_those_who_have_them(lab: Any) -> None:
    await lab.create("web")
    await lab.running("web")
    stub = await lab.node()
    images = {tag: one for one in (await stub.Images(node_pb2.ImagesRequest())).images for tag in one.tags}
    [name] = [tag for tag in images if "app:1" in tag]
    assert images[name].used_by == ["default/web/main"]
    assert images[name].size_bytes > 0
    assert images[name].last_used.seconds > 0


async def test_a_pod_that_runs_is_inspected(lab: Any) -> None:
    await lab.create("web", volumes=[{"name": "cache", "emptyDir": {}}])
    await lab.running("web")
    stub = await lab.node()
    found = await stub.Inspect(node_pb2.InspectRequest(namespace="default", pod="web"))
    assert (found.stage, list(found.history)[-1], found.pod.status.phase) == ("Running", "Running", "Running")
    assert [(volume.name, volume.kind, volume.ready) for volume in found.volumes] == [("cache", "emptyDir", True)]
    [container] = found.containers
    assert (container.kind, container.started, [run.state for run in container.runs]) == ("main", True, ["Running"])
    assert [box.ready for box in found.sandboxes] == [True]
    done = {order.order for order in found.orders if order.HasField("answered")}
    assert {"PrepareVolumes", "RunSandbox", "EnsureImage", "StartContainer"} <= done


async def test_a_pod_that_does_not_start_says_what_failed_and_when_it_is_tried_again(lab: Any) -> None:
    await lab.create("stuck", {"pull-error": "no"}, containers=[{"name": "main", "image": "broken:1"}])
    await lab.when("stuck", lambda pod: pod.status.container_statuses)
    stub = await lab.node()

    async def has_failed() -> bool:
        found = await stub.Inspect(node_pb2.InspectRequest(namespace="default", pod="stuck"))
        return any(order.reason for order in found.orders)

    await lab.until(has_failed)
    found = await stub.Inspect(node_pb2.InspectRequest(namespace="default", pod="stuck"))
    [failed] = [order for order in found.orders if order.reason]
    assert (failed.order, failed.subject, failed.reason) == ("EnsureImage", "main", "ErrImagePull")
    assert failed.retried.seconds >= failed.answered.seconds
    [container] = found.containers
    assert container.waiting_reason in ("ErrImagePull", "ImagePullBackOff")
    assert container.held_until.seconds >= failed.answered.seconds


async def test_nobody_inspects_what_is_not_here(lab: Any) -> None:
    stub = await lab.node()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.Inspect(node_pb2.InspectRequest(namespace="default", pod="none"))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
