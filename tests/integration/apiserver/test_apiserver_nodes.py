"""Calls about a Pod go through the API server to the kubelet of its node."""

import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api import errors, rpc_status
from navarch.services.base.serving import GrpcServer


class Kubelet(node_pb2_grpc.NodeServicer):
    """Says back what it hears."""

    async def Logs(self, request: Any, context: Any) -> AsyncIterator[node_pb2.LogsResponse]:
        yield node_pb2.LogsResponse(data=f"{request.namespace}/{request.pod} {request.options.container}".encode())
        yield node_pb2.LogsResponse(data=b"second")

    async def Exec(self, requests: Any, context: Any) -> AsyncIterator[node_pb2.ExecResponse]:
        async for request in requests:
            match request.WhichOneof("request"):
                case "start":
                    yield node_pb2.ExecResponse(stdout=" ".join(request.start.command).encode())
                case "stdin":
                    yield node_pb2.ExecResponse(stdout=request.stdin)
        yield node_pb2.ExecResponse(exit_code=3)

    async def Images(self, request: Any, context: Any) -> node_pb2.ImagesResponse:
        return node_pb2.ImagesResponse(images=[node_pb2.NodeImage(id=f"of-{request.node}")])

    async def Inspect(self, request: Any, context: Any) -> node_pb2.InspectResponse:
        return node_pb2.InspectResponse(stage=f"of-{request.pod}")


@pytest.fixture
async def stub(cluster: Any) -> Any:
    own = cluster.authority.issue("system:node:n1", ["system:nodes"], [], ["127.0.0.1"], now=time.time(), server=True)
    kubelet = GrpcServer(own)
    kubelet.add(node_pb2_grpc.add_NodeServicer_to_server, Kubelet())  # type: ignore[abstract]
    port = await kubelet.start("127.0.0.1:0")
    cluster.stack.push_async_callback(kubelet.stop)
    node = corev1.Node()
    node.metadata.name = "n1"
    node.metadata.annotations["navarch.dev/kubelet-grpc-port"] = str(port)
    await cluster.client.create(node)
    node.status.addresses.add(type="Hostname", address="nowhere.invalid")
    node.status.addresses.add(type="InternalIP", address="127.0.0.1")
    await cluster.client.update_status(node)
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = "web", "default"
    pod.spec.containers.add(name="main", image="example.org/image:1")
    pod.spec.node_name = "n1"
    await cluster.client.create(pod)
    pod.metadata.name, pod.spec.node_name = "waiting", ""
    await cluster.client.create(pod)
    return node_pb2_grpc.NodeStub(cluster.client.channel)


async def test_logs(stub: Any) -> None:
    request = node_pb2.LogsRequest(namespace="default", pod="web", options={"container": "main"})
    assert [answer.data async for answer in stub.Logs(request)] == [b"default/web main", b"second"]


async def test_exec(stub: Any) -> None:
    call = stub.Exec()
    start = node_pb2.ExecStart(namespace="default", pod="web", command=["echo", "hi"])
    await call.write(node_pb2.ExecRequest(start=start))
    assert (await call.read()).stdout == b"echo hi"
    await call.write(node_pb2.ExecRequest(stdin=b"more"))
    assert (await call.read()).stdout == b"more"
    await call.done_writing()
    assert (await call.read()).exit_code == 3


@pytest.mark.parametrize(
    ("pod", "refusal", "message"),
    [
        ("missing", errors.NotFound, 'pods "missing" not found'),
        ("waiting", errors.BadRequest, "pod waiting does not have a host assigned"),
        ("", errors.BadRequest, "name may not be empty"),
    ],
)
async def test_refusals(stub: Any, pod: str, refusal: type[errors.ApiError], message: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Logs(node_pb2.LogsRequest(namespace="default", pod=pod)).read()
    failure = rpc_status.from_rpc(refused.value)
    assert isinstance(failure, refusal)
    assert message in failure.message


async def test_strangers_may_not(cluster: Any, stub: Any) -> None:
    stranger = cluster.connect("jane")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await node_pb2_grpc.NodeStub(stranger.channel).Logs(node_pb2.LogsRequest(namespace="default", pod="web")).read()
    assert 'cannot get resource "pods/log"' in rpc_status.from_rpc(refused.value).message


async def test_a_node_and_a_pod_are_asked_about_what_is_on_them(stub: Any) -> None:
    images = await stub.Images(node_pb2.ImagesRequest(node="n1"))
    assert [image.id for image in images.images] == ["of-n1"]
    inspected = await stub.Inspect(node_pb2.InspectRequest(namespace="default", pod="web"))
    assert inspected.stage == "of-web"


@pytest.mark.parametrize(
    ("node", "refusal", "message"),
    [("", errors.BadRequest, "name a node"), ("n9", errors.NotFound, 'nodes "n9" not found')],
)
async def test_nodes_that_cannot_be_asked(stub: Any, node: str, refusal: type[Exception], message: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Images(node_pb2.ImagesRequest(node=node))
    failure = rpc_status.from_rpc(refused.value)
    assert isinstance(failure, refusal)
    assert message in failure.message


async def test_strangers_do_not_see_the_images_of_a_node(cluster: Any, stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await node_pb2_grpc.NodeStub(cluster.connect("jane").channel).Images(node_pb2.ImagesRequest(node="n1"))
    assert 'cannot get resource "nodes/proxy"' in rpc_status.from_rpc(refused.value).message
