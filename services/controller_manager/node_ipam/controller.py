"""The Node IPAM loop: writes `spec.podCIDR` of Nodes that have none.

One worker, and what it gave away counts as taken until the cache shows it, so no part is given twice. After a
restart all of that is read from the Nodes themselves. Where the cluster's range overlaps the Services', no Node gets
addresses of the latter.
"""

from collections.abc import Sequence
from ipaddress import ip_network

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.base.log import get_logger
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Hindered
from navarch.services.controller_manager.node_ipam.plan import Exhausted, Network, Range, allocate, parts_of


class NodeIpamController:
    """Reconciles Nodes by name. reserved: parts of the ranges that no Node gets."""

    def __init__(self, context: Context, ranges: Sequence[Range], reserved: Sequence[Network] = ()) -> None:
        self.controller = Controller("node-ipam", self.reconcile, 1, context.clock)
        self._client = context.client
        self._ranges, self._reserved = ranges, reserved
        self._events = context.recorder("cidrAllocator")
        self._log = get_logger("node-ipam")
        self._nodes = context.informers.of(corev1.Node)
        self._given: dict[str, list[str]] = {}
        self._nodes.on_event(self._on_node)

    async def reconcile(self, name: str) -> None:
        """See that one Node has its part."""
        node = self._nodes.get(name)
        if node is None or parts_of(node):
            self._given.pop(name, None)
            return
        try:
            cidrs = self._given.get(name) or allocate(self._ranges, self._taken())
        except Exhausted as failure:
            self._events.event(node, "Warning", "CIDRNotAvailable", str(failure))
            raise Hindered(str(failure)) from failure
        self._given[name] = cidrs
        try:
            patch = {"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}
            await self._client.patch(corev1.Node, name, "", patch, "merge")
        except errors.NotFound:
            del self._given[name]
            return
        self._log.info("node.cidr_allocated", node=name, cidrs=",".join(cidrs))

    def _taken(self) -> list[Network]:
        held = [part for node in self._nodes.list() for part in parts_of(node)]
        return [*self._reserved, *held] + [ip_network(text) for cidrs in self._given.values() for text in cidrs]

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        """A Node that goes frees its part for those that found none."""
        if new is not None and (not parts_of(new) or new.metadata.name in self._given):
            self.controller.queue.add(new.metadata.name)
        elif new is None and old is not None:
            self._given.pop(old.metadata.name, None)
            for node in self._nodes.list():
                if not parts_of(node):
                    self.controller.queue.add(node.metadata.name)
