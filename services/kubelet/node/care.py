"""Takes care of one node: eviction, garbage collection and graceful shutdown, put together."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.client.events import EventRecorder, EventType
from navarch.services.kubelet.core.cgroup_names import CgroupNames
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.pressure import Pressure
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.node.container_gc import ContainerGc
from navarch.services.kubelet.node.eviction import Evictions
from navarch.services.kubelet.node.image_gc import ImageGc
from navarch.services.kubelet.node.logind import Logind
from navarch.services.kubelet.node.options import NodeOptions
from navarch.services.kubelet.node.shutdown import Shutdown
from navarch.services.kubelet.node.usage import UsageReader
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime


class NodeCare:
    """What one kubelet does for its node as a whole. complete: whether all Pods of the node are known."""

    def __init__(
        self,
        name: str,
        options: NodeOptions,
        *,
        runtime: Runtime,
        recorder: EventRecorder,
        happenings: Happenings,
        clock: Clock,
        layout: Layout,
        groups: CgroupNames,
        pods_memory_bytes: int,
        workers: Callable[[], Iterable[PodWorker]],
        complete: Callable[[], bool],
        on_change: Callable[[], None],
        on_image_removed: Callable[[], None],
    ) -> None:
        self._recorder = recorder
        # Events about a node carry its name as the uid: that is by what they are looked for.
        self._reference = corev1.ObjectReference(kind="Node", name=name, uid=name)
        usage = UsageReader(runtime, layout, groups, pods_memory_bytes)
        self._containers = ContainerGc(runtime, clock, layout, workers, complete)
        self.images = ImageGc(
            runtime,
            usage,
            clock,
            options.images,
            lambda: [worker.view.pod for worker in workers() if not worker.machine.runs_nothing],
            self.tell,
            on_image_removed,
        )
        self.evictions = Evictions(
            pressure=Pressure(options.thresholds, options.transition_s),
            usage=usage,
            workers=workers,
            containers=self._containers,
            images=self.images,
            tell_node=self.tell,
            tell_pod=happenings.tell,
            on_conditions=on_change,
            clock=clock,
            max_grace_s=options.max_pod_grace_s,
            look_s=options.look_s,
        )
        self.shutdown = Shutdown(options.shutdown, clock, workers, on_change)
        self._logind = Logind(self.shutdown, clock)

    def tell(self, type_: EventType, reason: str, message: str) -> None:
        """Record an Event about the node."""
        self._recorder.event(self._reference, type_, reason, message)

    def refuse(self, pod: corev1.Pod) -> Rejected | None:
        """The refusal of a new Pod for the node's sake; None to let it in."""
        return self.evictions.refuse(pod) or self.shutdown.refuse(pod)

    def pod_changed(self) -> None:
        """Something happened to a Pod."""
        self.evictions.pod_changed()
        self.shutdown.pod_changed()

    def conditions(self) -> Sequence[str]:
        """The pressures that the node is under."""
        return self.evictions.conditions

    def problem(self) -> str:
        """Why the node is not Ready; "" when it is, as far as is known here."""
        return self.shutdown.problem

    async def run(self) -> None:
        """Take care, for ever."""
        await asyncio.gather(self.evictions.run(), self.images.run(), self._containers.run(), self._logind.run())
