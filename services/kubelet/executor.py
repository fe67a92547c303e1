"""Carries out the orders of Pods' machines.

Every order ends in `Done` or `Failed`; an order given twice does no harm. Sandboxes and containers of many
Pods are made side by side, up to a bound that keeps the host responsive; stopping is never held up.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.cgroups import GroupFailure
from navarch.services.kubelet.core import events_text as text
from navarch.services.kubelet.core.abilities import abilities, image_volumes
from navarch.services.kubelet.core.container_config import Run, container_config
from navarch.services.kubelet.core.dns import dns_warnings
from navarch.services.kubelet.core.draining import drain_s
from navarch.services.kubelet.core.ephemeral import target_of
from navarch.services.kubelet.core.observed import CREATED, RUNNING, Container, sandbox_of
from navarch.services.kubelet.core.orders import (
    DeletePod,
    Done,
    Emit,
    EnsureImage,
    Failed,
    Order,
    PrepareVolumes,
    ReleaseVolumes,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    ResizeSandbox,
    RunSandbox,
    Seen,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, NodeContext
from navarch.services.kubelet.core.sandbox_config import check_hostname, sandbox_config
from navarch.services.kubelet.core.static_pods import is_static
from navarch.services.kubelet.core.user_namespaces import check_handler, wants_own
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.hooks import Hooks
from navarch.services.kubelet.images import ImageRefusal, Images
from navarch.services.kubelet.objects import NodeObjects
from navarch.services.kubelet.pod_groups import PodGroups
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure
from navarch.services.kubelet.runtime_classes import RuntimeClasses
from navarch.services.kubelet.runtime_watch import RuntimeWatch
from navarch.services.kubelet.statuses import StatusReporter
from navarch.services.kubelet.user_namespaces import UserNamespaces
from navarch.services.kubelet.volumes.container_mounts import ContainerMounts
from navarch.services.kubelet.volumes.manager import VolumeManager

# Making containers keeps the cores busy; more at once only makes each take longer.
STARTS_PER_CPU = 2
# A container that could not be started, or whose hook failed, gets this long to go.
FAILED_START_GRACE_S = 2
LEFT_BY_HOOK_S = 2
# Adds to the configuration of a container what plugins have for it. Raises ConfigError.
Equip = Callable[[corev1.Pod, corev1.Container, criv1.ContainerConfig], Awaitable[None]]


class Executor:
    """Orders in, deeds done, answers out."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        watch: RuntimeWatch,
        images: Images,
        volumes: VolumeManager,
        mounts: ContainerMounts,
        objects: NodeObjects,
        runtime_classes: RuntimeClasses,
        equip: Equip,
        statuses: StatusReporter,
        happenings: Happenings,
        clock: Clock,
        layout: Layout,
        node: NodeContext,
        groups: PodGroups,
        node_object: Callable[[], corev1.Node] = corev1.Node,
    ) -> None:
        self._runtime = runtime
        self._watch = watch
        self._images = images
        self._volumes = volumes
        self._mounts = mounts
        self._objects = objects
        self._runtime_classes = runtime_classes
        self._equip = equip
        self._statuses = statuses
        self._happenings = happenings
        self._users = UserNamespaces(layout)
        self._hooks = Hooks(runtime, clock)
        self._clock = clock
        self._layout = layout
        self._node = node
        self._groups = groups
        self._node_object = node_object
        # By uid and volume: the images that are volumes.
        self._volume_images: dict[tuple[str, str], str] = {}
        self._gate = asyncio.Semaphore(STARTS_PER_CPU * max(2, node.cpu_millicores // 1000))
        self._refreshing = asyncio.Lock()
        self._pre_stopped: set[str] = set()
        # By uid: what Pods were told about their resolvers, however often their sandboxes are made.
        self._dns_told: dict[str, set[tuple[str, str]]] = {}
        self._log = get_logger("kubelet.pod")

    async def carry_out(self, worker: PodWorker, order: Order) -> Done | Failed:
        """Carry one order out."""
        answer = await self._answer(worker, order)
        # A relist that has begun by now may have looked before this was done.
        return replace(answer, sequence=self._watch.sequence)

    async def _answer(self, worker: PodWorker, order: Order) -> Done | Failed:
        try:
            return await self._dispatch(worker, order)
        except (RuntimeFailure, GroupFailure) as failure:
            return Failed(order, type(order).__name__ + "Error", str(failure))
        except ConfigError as failure:
            return Failed(order, "CreateContainerConfigError", str(failure))
        except ImageRefusal as refusal:
            return Failed(order, refusal.reason, str(refusal), image=refusal.image)
        except Exception as failure:
            self._log.exception("order.failed", pod=worker.view.name, order=order)
            return Failed(order, "InternalError", str(failure))

    async def _dispatch(self, worker: PodWorker, order: Order) -> Done | Failed:
        match order:
            case PrepareVolumes():
                if not is_static(worker.view.pod):
                    await self._objects.acquire(worker.view.pod)
                await self._volumes.prepare(worker.view.pod, self._stamp())
            case RunSandbox(attempt):
                return await self._run_sandbox(worker, order, attempt)
            case EnsureImage(name):
                return await self._ensure_image(worker, order, name)
            case StartContainer():
                return await self._start(worker, order)
            case ResizeContainer():
                return await self._resize(worker, order)
            case ResizeSandbox(id_, sizes):
                await self._groups.resize(worker.view.pod, sizes)
                await self._runtime.update_sandbox(id_, sizes.as_resources())
            case StopContainer():
                return await self._stop(worker, order)
            case RemoveContainer(id_):
                await self._remove_container(worker, id_)
            case StopSandbox(id_):
                await self._runtime.stop_sandbox(id_)
            case RemoveSandbox(id_):
                await self._runtime.remove_sandbox(id_)
            case ReleaseVolumes(everything):
                await self._release(worker, everything)
            case DeletePod():
                await self._statuses.delete(worker)
            case Emit():
                raise AssertionError("events are told, not carried out")
        return Done(order)

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y_%m_%d_%H_%M_%S.%f")

    async def refresh_volumes(self, worker: PodWorker) -> None:
        """Bring the files of a running Pod up to date with the objects they are made from."""
        # One after the other: of two that run at once, the one that read first could write last.
        async with self._refreshing:
            await self._volumes.refresh(worker.view.pod, self._stamp())

    async def _run_sandbox(self, worker: PodWorker, order: RunSandbox, attempt: int) -> Done:
        pod = worker.view.pod
        handler = await self._runtime_classes.handler(pod)
        check_hostname(pod, self._node)
        self._warn_of_dns(pod)
        if wants_own(pod):
            check_handler(handler, can=abilities(self._node_object(), handler).user_namespaces)
        config = sandbox_config(pod, attempt, self._layout, self._node, self._users.of(pod))
        await self._groups.make(pod)
        async with self._gate:
            id_ = await self._runtime.run_sandbox(config, handler)
        return Done(order, (sandbox_of(await self._runtime.sandbox_status(id_)),))

    def _warn_of_dns(self, pod: corev1.Pod) -> None:
        warnings = dns_warnings(pod, self._node)
        told = self._dns_told.get(pod.metadata.uid, set())
        for reason, message in warnings:
            if (reason, message) not in told:
                self._happenings.tell(pod, "Warning", reason, message)
        if warnings:
            self._dns_told[pod.metadata.uid] = told.union(warnings)

    async def _ensure_image(self, worker: PodWorker, order: EnsureImage, name: str) -> Done:
        pod, container = worker.view.pod, worker.container(name)
        if pod.spec.image_pull_secrets:
            await self._objects.acquire(pod)
        found = [self._objects.secret(pod.metadata.namespace, one.name) for one in pod.spec.image_pull_secrets]
        secrets = [secret for secret in found if secret is not None]
        sandbox = sandbox_config(pod, 0, self._layout, self._node)
        image, policy = container.image, container.image_pull_policy
        ref = await self._images.ensure(pod, image, policy, secrets, sandbox, container.name)
        for volume, source in image_volumes(pod, container):
            key = (pod.metadata.uid, volume)
            self._volume_images[key] = await self._images.ensure(
                pod, source.reference, source.pull_policy, secrets, sandbox
            )
        return Done(order, image_ref=ref)

    async def _start(self, worker: PodWorker, order: StartContainer) -> Done | Failed:
        pod, box, name = worker.view.pod, order.sandbox, order.container
        container = worker.container(name)
        try:
            config = None if order.created else await self._container_config(worker, order)
        except ConfigError as failure:
            return self._refused(worker, order, "CreateContainerConfigError", str(failure))
        async with self._gate:
            id_ = order.created
            if config is not None:
                try:
                    users = self._users.of(pod)
                    sandbox = sandbox_config(pod, box.attempt, self._layout, self._node, users)
                    id_ = await self._runtime.create_container(box.id, config, sandbox)
                except RuntimeFailure as failure:
                    return self._refused(worker, order, "CreateContainerError", str(failure))
                self._happenings.tell(pod, "Normal", "Created", text.CREATED, name)
            try:
                await self._runtime.start_container(id_)
            except RuntimeFailure as failure:
                fact = await self._watch.inspect_container(id_, box.id)
                if order.created:
                    # Whoever made it had asked for its start already, and may be answered only now.
                    if fact.state != CREATED:
                        return Done(order, (fact,))
                    return Failed(order, "RunContainerError", str(failure))
                facts = await self._after_failed_start(fact)
                return self._refused(worker, order, "RunContainerError", str(failure), facts)
            self._happenings.tell(pod, "Normal", "Started", text.STARTED, name)
            fact = await self._watch.inspect_container(id_, box.id)
        if not container.lifecycle.HasField("post_start"):
            return Done(order, (fact,))
        return await self._post_start(worker, order, container, fact)

    async def _container_config(self, worker: PodWorker, order: StartContainer) -> criv1.ContainerConfig:
        pod, container = worker.view.pod, worker.container(order.container)
        pod_ips = self._node.host_ips if pod.spec.host_network else order.sandbox.ips
        can = abilities(self._node_object(), await self._runtime_classes.handler(pod))
        images = {name: ref for (uid, name), ref in self._volume_images.items() if uid == pod.metadata.uid}
        mounts = self._mounts.mounts(pod, container, order.attempt, pod_ips, can, images)
        target_id = _target_id(worker, order.container)
        devices = self._mounts.devices(pod, container)
        image = self._images.described(order.image_ref)
        read_file = partial(self._mounts.file, pod)
        run = Run(order.attempt, image, pod_ips, mounts, target_id, devices, read_file, self._users.of(pod))
        config = container_config(pod, container, run, self._objects, self._node)
        await self._equip(pod, container, config)
        return config

    def _refused(
        self, worker: PodWorker, order: StartContainer, reason: str, message: str, facts: tuple[Container, ...] = ()
    ) -> Failed:
        self._happenings.tell(worker.view.pod, "Warning", "Failed", f"Error: {message}", order.container)
        return Failed(order, reason, message, facts)

    async def _after_failed_start(self, fact: Container) -> tuple[Container, ...]:
        """What is left of a start: a run that ended, or nothing."""
        if fact.state != CREATED:
            return (fact,)
        await self._runtime.remove_container(fact.id)
        return ()

    async def _post_start(
        self, worker: PodWorker, order: StartContainer, container: corev1.Container, fact: Container
    ) -> Done | Failed:
        worker.tell(Seen((fact,), self._watch.sequence))
        failure = await self._hooks.run(
            container.lifecycle.post_start, container, fact, _first(order.sandbox.ips), None
        )
        if failure is None:
            return Done(order, (fact,))
        message = f"PostStartHook failed: {failure}"
        self._happenings.tell(worker.view.pod, "Warning", "FailedPostStartHook", message, order.container)
        await self._runtime.stop_container(fact.id, FAILED_START_GRACE_S)
        ended = await self._watch.inspect_container(fact.id, fact.sandbox_id)
        return Failed(order, "PostStartHookError", message, (ended,))

    async def _stop(self, worker: PodWorker, order: StopContainer) -> Done:
        run = worker.view.runtime.containers.get(order.id)
        if run is None:
            return Done(order)
        container = worker.view.container(order.container)
        began = self._clock.monotonic()
        if container is not None and container.lifecycle.HasField("pre_stop") and run.state == RUNNING:
            await self._pre_stop(worker, order, container, run)
        if worker.view.deleted and run.state == RUNNING:
            drain_until = began + drain_s(worker.view.pod, self._objects.services())
            await self._clock.sleep(max(0.0, drain_until - self._clock.monotonic()))
        left_s = order.deadline - self._clock.now()
        if order.id in self._pre_stopped:
            # A hook that took all the time leaves its container some all the same.
            left_s = max(left_s, LEFT_BY_HOOK_S)
        await self._runtime.stop_container(order.id, max(0, math.ceil(left_s - 0.05)))
        try:
            ended = await self._watch.inspect_container(order.id, run.sandbox_id)
        except RuntimeFailure as failure:
            if not failure.not_found:
                raise
            return Done(order)
        return Done(order, (ended,))

    async def _resize(self, worker: PodWorker, order: ResizeContainer) -> Done | Failed:
        run, limit = worker.view.runtime.containers.get(order.id), order.sizes.memory_limit_bytes
        if run is None:
            return Done(order)
        if limit and (used := await self._runtime.memory_in_use(order.id)) >= limit:
            # The kernel would rather kill than refuse.
            message = f"attempting to set container memory limit ({limit}) below current usage ({used})"
            return Failed(order, "ResizeError", message)
        await self._runtime.update_container(order.id, order.sizes.as_resources())
        return Done(order, (await self._watch.inspect_container(order.id, run.sandbox_id),))

    async def _pre_stop(
        self, worker: PodWorker, order: StopContainer, container: corev1.Container, run: Container
    ) -> None:
        left_s = order.deadline - self._clock.now()
        if order.id in self._pre_stopped or left_s <= 0:
            return
        self._pre_stopped.add(order.id)
        box = worker.view.runtime.sandbox()
        ip = _first(self._node.host_ips if worker.view.pod.spec.host_network else box.ips if box else ())
        failure = await self._hooks.run(container.lifecycle.pre_stop, container, run, ip, left_s)
        if failure is not None:
            message = f"PreStopHook failed: {failure}"
            self._happenings.tell(worker.view.pod, "Warning", "FailedPreStopHook", message, order.container)

    async def _remove_container(self, worker: PodWorker, id_: str) -> None:
        run = worker.view.runtime.containers.get(id_)
        await self._runtime.remove_container(id_)
        self._pre_stopped.discard(id_)
        if run is not None:
            self._mounts.forget_run(worker.view.pod, run.name, run.attempt)

    async def _release(self, worker: PodWorker, everything: bool) -> None:
        pod = worker.view.pod
        await self._objects.release(pod.metadata.uid)
        for key in [key for key in self._volume_images if key[0] == pod.metadata.uid]:
            del self._volume_images[key]
        self._dns_told.pop(pod.metadata.uid, None)
        await self._volumes.release(pod, everything=everything)
        await self._groups.remove(pod)


def _target_id(worker: PodWorker, name: str) -> str:
    """The running container whose processes this one is to share; "" for none. Raises ConfigError."""
    target = target_of(worker.view.pod, name)
    run = worker.view.runtime.latest(target) if target else None
    if target and (run is None or run.state != RUNNING):
        raise ConfigError(f"unable to find target container {target}")
    return run.id if run is not None else ""


def _first(addresses: tuple[str, ...]) -> str:
    return addresses[0] if addresses else ""
