"""Asks API server and kubelet for all that may explain why a Pod does not run."""

import time

import grpc
from google.protobuf.message import Message

from navarch.cli.output.diagnosis.facts import (
    CLAIM,
    CONFIG_MAP,
    SECRET,
    Facts,
    Reference,
    failed_containers,
    references,
)
from navarch.cli.session import Session
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api.errors import ApiError, NotFound
from navarch.services.api.meta import controller_of, unix
from navarch.services.api.rpc_status import from_rpc

# A kubelet that does not answer is a finding, not something to wait for.
KUBELET_S = 5.0
LAST_LINES, LAST_BYTES = 5, 4096
CLASSES: dict[str, type[Message]] = {
    CONFIG_MAP: corev1.ConfigMap,
    SECRET: corev1.Secret,
    CLAIM: corev1.PersistentVolumeClaim,
    "ServiceAccount": corev1.ServiceAccount,
}


async def gather(session: Session, pod: corev1.Pod) -> Facts:
    """Everything about a Pod. What may not be read is as if nobody had said it."""
    client = session.client
    namespace, node_name = pod.metadata.namespace, pod.spec.node_name
    owner = controller_of(pod)
    inspected, unanswered = await _inspect(session, pod) if node_name else (None, "")
    return Facts(
        now=time.time(),
        pod=pod,
        node=await _node(session, node_name) if node_name else None,
        nodes=() if node_name else (await client.list(corev1.Node)).items,
        pods=() if node_name else (await client.list(corev1.Pod)).items,
        inspected=inspected,
        unanswered=unanswered,
        events=await events_about(session, namespace, pod.metadata.uid),
        owner_events=await events_about(session, namespace, owner.uid) if owner is not None else (),
        last_words={name: words for name in failed_containers(pod) if (words := await _last_words(session, pod, name))},
        objects={(one.kind, one.name): await _object(session, one, namespace) for one in references(pod)},
    )


async def events_about(session: Session, namespace: str, uid: str) -> list[corev1.Event]:
    """The Events about an object, the oldest first."""
    listed = await session.client.list(corev1.Event, namespace, field_selector=f"involvedObject.uid={uid}")
    return sorted(listed.items, key=lambda one: unix(one.last_timestamp) or unix(one.metadata.creation_timestamp))


async def _inspect(session: Session, pod: corev1.Pod) -> tuple[node_pb2.InspectResponse | None, str]:
    stub = node_pb2_grpc.NodeStub(session.client.channel)
    request = node_pb2.InspectRequest(namespace=pod.metadata.namespace, pod=pod.metadata.name)
    try:
        return await stub.Inspect(request, timeout=KUBELET_S), ""
    except grpc.aio.AioRpcError as error:
        return None, from_rpc(error).message


async def _last_words(session: Session, pod: corev1.Pod, container: str) -> str:
    """What a container wrote last; "" where that cannot be had."""
    options = corev1.PodLogOptions(container=container, tail_lines=LAST_LINES, limit_bytes=LAST_BYTES)
    request = node_pb2.LogsRequest(namespace=pod.metadata.namespace, pod=pod.metadata.name, options=options)
    call = node_pb2_grpc.NodeStub(session.client.channel).Logs(request, timeout=KUBELET_S)
    try:
        return b"".join([answer.data async for answer in call]).decode(errors="replace")
    except grpc.aio.AioRpcError:
        return ""


async def _node(session: Session, name: str) -> corev1.Node | None:
    try:
        return await session.client.get(corev1.Node, name)
    except NotFound:
        return None


async def _object(session: Session, wanted: Reference, namespace: str) -> Message | None:
    """The object; None when there is none. One that may not be read is taken to be there."""
    cls = CLASSES[wanted.kind]
    try:
        return await session.client.get(cls, wanted.name, namespace)
    except NotFound:
        return None
    except ApiError:
        return corev1.ServiceAccount()
