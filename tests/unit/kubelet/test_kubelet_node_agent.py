"""The Node of a kubelet that others change at the same time."""

import asyncio
from pathlib import Path

import grpc
import pytest

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.node.agent import NodeAgent, NodeIdentity
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.runtime import RuntimeFailure


class Away:
    """A runtime that does not answer."""

    async def version(self) -> None:
        raise RuntimeFailure(grpc.StatusCode.UNAVAILABLE, "away")


class Api:
    """Takes the status of no other Node than the one that it has, as the rules for kubelets want it."""

    def __init__(self) -> None:
        self.node = corev1.Node()
        self.taken = asyncio.Event()

    async def get(self, cls: type, name: str, namespace: str = "") -> corev1.Node:
        found = corev1.Node()
        found.CopyFrom(self.node)
        return found

    async def create(self, made: corev1.Node | coordinationv1.Lease, namespace: str = "") -> object:
        if isinstance(made, coordinationv1.Lease):
            return made
        # Somebody has it tainted between the answer and its use.
        self.node.CopyFrom(made)
        self.node.metadata.resource_version = "7"
        before = await self.get(corev1.Node, "n1")
        self.node.metadata.resource_version = "8"
        self.node.spec.taints.add(key="why", effect="NoExecute")
        return before

    async def patch(self, *_: object, **__: object) -> corev1.Node:
        return await self.get(corev1.Node, "n1")

    async def update(self, changed: coordinationv1.Lease) -> coordinationv1.Lease:
        return changed

    async def update_status(self, node: corev1.Node) -> corev1.Node:
        if list(node.spec.taints) != list(self.node.spec.taints):
            raise errors.Forbidden("nodes", "n1", 'node "n1" is not allowed to modify taints')
        self.node.status.CopyFrom(node.status)
        self.taken.set()
        return node


@pytest.mark.timeout(60)
async def test_a_node_that_is_tainted_while_it_registers_is_read_anew(tmp_path: Path) -> None:
    api = Api()
    agent = NodeAgent(
        api,  # type: ignore[arg-type]
        Away(),  # type: ignore[arg-type]
        SystemClock(),
        NodeIdentity("n1", ("127.0.0.1",), 110),
        Host(1, 1 << 30),
        tmp_path,
        lambda: 0,
    )
    work = asyncio.create_task(agent.run())
    await api.taken.wait()
    await agent.registered.wait()
    work.cancel()
    assert agent.node is not None
    assert [taint.key for taint in agent.node.spec.taints] == ["why"]
