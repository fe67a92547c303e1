"""Gives CPUs to containers, and keeps all others off them (the policies `none` and `static` of the CPU manager).

A Pod gets its CPUs when it is let in, and keeps them until it has ended. Who has which is on disk before it is used.
Containers that share run on the pool: those that start are told so, those that run are moved when the pool changes,
before a container that got CPUs of its own starts on them; whatever went wrong is tried again every ten seconds.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core import cpu_checkpoint
from navarch.services.kubelet.core.cpu_lists import write_cpus
from navarch.services.kubelet.core.cpu_topology import Topology
from navarch.services.kubelet.core.exclusive_cpus import CpuRules, ExclusiveCpus, exclusive_cpus, reserved_cpus
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.node.cpu_options import STATIC, STRICT, WHOLE_CORES, CpuOptions
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure


class CpuManager:
    """The CPUs of one node. workers: of all its Pods. holds: whether the Pod of a uid may have CPUs.

    reserved_millicores: of the host, where its CPUs are not named.
    """

    def __init__(
        self,
        options: CpuOptions,
        topology: Topology,
        reserved_millicores: int,
        root: Path,
        *,
        runtime: Runtime,
        clock: Clock,
        workers: Callable[[], Iterable[PodWorker]],
        holds: Callable[[str], bool],
    ) -> None:
        self._options = options
        self._file = root / cpu_checkpoint.FILE
        self._runtime = runtime
        self._clock = clock
        self._workers = workers
        self._holds = holds
        reserved = reserved_cpus(topology, options.reserved, reserved_millicores)
        rules = CpuRules(reserved, WHOLE_CORES in options.options, STRICT in options.options)
        self._cpus = ExclusiveCpus(topology, rules)
        # By container id: the CPUs of the pool that it was told last.
        self._told: dict[str, frozenset[int]] = {}
        # By uid of the Pod and name of the container: those that it started with.
        self._equipped: dict[tuple[str, str], frozenset[int]] = {}
        self._moving = asyncio.Lock()
        self._look_now = asyncio.Event()
        self._log = get_logger("kubelet.cpus")

    @property
    def enabled(self) -> bool:
        """Whether containers get CPUs of their own."""
        return self._options.policy == STATIC

    def start(self) -> None:
        """Learn who has which CPUs. Raises InvalidCpuState."""
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            self._save()
            return
        shared, assigned = cpu_checkpoint.read(text, self._options.policy, str(self._file))
        if self.enabled and (shared or assigned):
            self._cpus.restore(shared, assigned)

    def _save(self) -> None:
        """On disk before it is used, and never half."""
        cpus = self._cpus
        shared = cpus.shared if self.enabled else frozenset[int]()
        staging = self._file.with_name(f"{self._file.name}.new")
        with staging.open("w") as stream:
            stream.write(cpu_checkpoint.written(self._options.policy, shared, cpus.assigned))
            stream.flush()
            if self.enabled:
                os.fsync(stream.fileno())
        staging.replace(self._file)

    # Pods

    def give(self, pod: corev1.Pod) -> Rejected | None:
        """Give a Pod that is to be let in its CPUs; the refusal when it cannot have them."""
        if not self.enabled:
            return None
        before = dict(self._cpus.assigned)
        self._cpus.release(lambda uid: not self._holds(uid))
        refusal = self._cpus.give(pod)
        if before != self._cpus.assigned:
            self._changed()
        return refusal

    def pod_changed(self) -> None:
        """Something happened to a Pod: a container may have come that was told another pool than there is by now."""
        if self.enabled:
            self._look_now.set()

    def pod_ended(self, uid: str) -> None:
        """A Pod runs nothing any more."""
        self._equipped = {key: cpus for key, cpus in self._equipped.items() if key[0] != uid}
        if self._cpus.release(lambda one: one == uid):
            self._changed()

    def _changed(self) -> None:
        try:
            self._save()
        except OSError as failure:
            self._log.error("checkpoint.unwritten", file=failure.filename, error=failure)
        self._log.info("pool.changed", cpus=write_cpus(self._cpus.pool))
        self._look_now.set()

    def refuse_resize(self, asked: corev1.Pod, granted: corev1.Pod) -> str:
        """Why a running Pod cannot get other resources for the sake of its CPUs; "" where it can."""
        if not self.enabled:
            return ""
        before = {one.name: exclusive_cpus(granted, one) for one in granted.spec.containers}
        if all(exclusive_cpus(asked, one) == before.get(one.name, 0) for one in asked.spec.containers):
            return ""
        return "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy"

    # Containers

    async def equip(self, pod: corev1.Pod, container: corev1.Container, config: criv1.ContainerConfig) -> None:
        """Tell a container that is to start where it runs; one of CPUs of its own starts when the others are off."""
        if not self.enabled:
            return
        key = (pod.metadata.uid, container.name)
        own = self.of(*key)
        if own:
            await self.move_shared()
        self._equipped[key] = own or self._cpus.pool
        config.linux.resources.cpuset_cpus = write_cpus(self._equipped[key])

    def of(self, uid: str, container: str) -> frozenset[int]:
        """The CPUs that a container has of its own."""
        return self._cpus.of(uid, container)

    @property
    def allocatable(self) -> frozenset[int]:
        """What containers can have of their own at most; without the policy, nothing is told."""
        return self._cpus.allocatable if self.enabled else frozenset()

    async def run(self) -> None:
        """Keep the containers that share on the pool, for ever."""
        while self.enabled:
            # Of Pods that went while no kubelet ran.
            if self._cpus.release(lambda uid: not self._holds(uid)):
                self._changed()
            await self.move_shared()
            await self._pause()

    async def _pause(self) -> None:
        waits = [
            asyncio.ensure_future(self._clock.sleep(self._options.reconcile_s)),
            asyncio.ensure_future(self._look_now.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def move_shared(self) -> None:
        """Tell the runtime the pool for each container that shares and was told another."""
        async with self._moving:
            self._look_now.clear()
            alive = {run.id: (worker, run) for worker in self._workers() for run in worker.view.runtime.alive()}
            self._told = {id_: cpus for id_, cpus in self._told.items() if id_ in alive}
            for id_, (worker, run) in alive.items():
                pool, told = self._cpus.pool, self._told.get(id_, self._equipped.get((worker.uid, run.name)))
                if not self.of(worker.uid, run.name) and told != pool:
                    await self._tell(worker, id_, pool)

    async def _tell(self, worker: PodWorker, id_: str, cpus: frozenset[int]) -> None:
        resources = criv1.LinuxContainerResources(cpuset_cpus=write_cpus(cpus))
        try:
            await self._runtime.update_container(id_, resources)
            self._told[id_] = cpus
        except RuntimeFailure as failure:
            if not failure.not_found:
                self._log.warning("container.not_moved", pod=worker.view.name, container=id_, error=failure)
