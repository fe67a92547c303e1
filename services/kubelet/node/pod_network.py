"""Tells the runtime the addresses of the node's Pods: those that the kubelet was given, else those of its Node."""

import asyncio

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

RETRY_S = 5.0


class PodNetwork:
    """The Pod network of one node. given: one range, or one of each family with a comma between; "" for the Node's."""

    def __init__(self, runtime: Runtime, clock: Clock, given: str) -> None:
        self._runtime = runtime
        self._clock = clock
        self._given = given
        self._wanted = given
        self._told = ""
        self._due = asyncio.Event()
        self._log = get_logger("kubelet.network")

    def saw(self, node: corev1.Node | None) -> None:
        """The Node as the API server has it; None when there is none."""
        if self._given or node is None:
            return
        if wanted := ",".join(node.spec.pod_cidrs) or node.spec.pod_cidr:
            self._wanted = wanted
            self._due.set()

    async def run(self) -> None:
        """Keep the runtime told, for ever."""
        while True:
            self._due.clear()
            if self._wanted == self._told:
                await self._due.wait()
                continue
            wanted = self._wanted
            try:
                await self._runtime.set_pod_cidr(wanted)
            except RuntimeFailure as failure:
                self._log.warning("runtime.pod_cidr_untold", pod_cidr=wanted, error=failure)
                await self._clock.sleep(RETRY_S)
                continue
            self._told = wanted
            self._log.info("runtime.pod_cidr", pod_cidr=wanted)
