"""The kubelet as a service: wires the parts and owns their tasks.

Order of a start, also after a crash: serve; register the node; list the runtime; only then look at the
Pods, so that each is compared with what really runs; then end orphans. Stopping leaves all containers alone.
"""

import asyncio
import os
from functools import partial
from pathlib import Path, PurePosixPath

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
from navarch.services.base.metrics import Metrics
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.client import Client
from navarch.services.client.events import EventRecorder
from navarch.services.client.informer import Informer
from navarch.services.kubelet.certificates.identity import NodeCredentials
from navarch.services.kubelet.claims import Claims
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core import apparmor
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.static_pods import is_mirror
from navarch.services.kubelet.core.status import NodeFacts, pod_status
from navarch.services.kubelet.cpus import CpuManager
from navarch.services.kubelet.executor import Executor
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.images import Images
from navarch.services.kubelet.log_rotation import Log, LogRotation
from navarch.services.kubelet.measures import MeasuredExecutor, Measures
from navarch.services.kubelet.mirrors import Mirrors
from navarch.services.kubelet.node.agent import NodeAgent
from navarch.services.kubelet.node.care import NodeCare
from navarch.services.kubelet.node.described import node_context, node_identity
from navarch.services.kubelet.node.host import default_address, read_host, read_load, read_topology
from navarch.services.kubelet.node.pod_network import PodNetwork
from navarch.services.kubelet.objects import NodeObjects
from navarch.services.kubelet.plugins.device_sockets import DeviceSockets
from navarch.services.kubelet.plugins.devices import DeviceManager
from navarch.services.kubelet.plugins.registered_devices import RegisteredDevices
from navarch.services.kubelet.plugins.registration import PluginHandler, PluginWatch
from navarch.services.kubelet.pod_groups import PodGroups
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.pods import PodTable
from navarch.services.kubelet.root_lock import RootLock
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure
from navarch.services.kubelet.runtime_classes import RuntimeClasses
from navarch.services.kubelet.runtime_watch import Fact, Listing, PodIdentity, RuntimeWatch
from navarch.services.kubelet.servers import Servers
from navarch.services.kubelet.sources.static_pods import StaticPods
from navarch.services.kubelet.statuses import StatusReporter
from navarch.services.kubelet.tokens import PodTokens
from navarch.services.kubelet.volume_upkeep import VolumeUpkeep
from navarch.services.kubelet.volumes.container_mounts import ContainerMounts
from navarch.services.kubelet.volumes.csi import CsiVolumes
from navarch.services.kubelet.volumes.csi_drivers import CsiDrivers
from navarch.services.kubelet.volumes.csi_growth import Grows
from navarch.services.kubelet.volumes.csi_usage import CsiUsage
from navarch.services.kubelet.volumes.manager import VolumeManager

RUNTIME_RETRY_S = 0.2


class Kubelet:
    """One node's kubelet. Usable many times in one loop."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._log = get_logger("kubelet")
        self._tasks = TaskOwner()
        self._listed = asyncio.Event()
        self._lock = RootLock(config.root_dir)
        self._servers: Servers | None = None
        self.port = 0
        self.grpc_port = 0

    async def start(self) -> None:
        """Serve, and begin to work. Returns before the node is Ready. Raises RootInUse."""
        config, clock = self._config, self._clock
        root = config.root_dir
        root.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        self._host_ips = tuple(filter(None, config.node_ip.split(","))) or (default_address(),)
        certificates = NodeCredentials(config, (config.node_name, *self._host_ips), clock)
        config = await certificates.opened()
        host = read_host()
        layout = Layout(PurePosixPath(os.path.abspath(root)))
        context = node_context(config, host, self._host_ips, layout)
        self._table = PodTable(self._make_worker, self._drop_worker, self._node)
        self._upkeep = VolumeUpkeep(
            self._table, lambda worker: self._executor.refresh_volumes(worker), self._tasks, clock
        )
        self._groups = PodGroups(config.groups, self._table.using, self._table.uids, settled=self._table.settled)
        self._groups.start(host, config.reserved, read_load(root).processes_max)
        self._client = Client.connect(config.api_server, config.credentials, f"kubelet/{config.node_name}")
        self._measures = Measures(Metrics(), clock)
        self._client.on_answer = partial(self._measures.requested, config.api_server)
        self._runtime = Runtime(config.runtime_endpoint, clock)
        self._runtime.observe = self._measures.called
        self._pod_network = PodNetwork(self._runtime, clock, config.pod_cidr)
        self._recorder = EventRecorder(self._client, "kubelet", config.node_name, clock)
        self._happenings = Happenings(self._recorder)
        self._images = Images(self._runtime, clock, self._happenings)
        identity = node_identity(config, host, self._host_ips)
        self._care = NodeCare(
            config.node_name,
            config.node,
            runtime=self._runtime,
            recorder=self._recorder,
            happenings=self._happenings,
            clock=clock,
            layout=layout,
            groups=config.groups.names,
            pods_memory_bytes=max(0, host.memory_bytes - config.reserved.memory_bytes),
            workers=self._table.all,
            complete=lambda: self._table.complete,
            on_change=lambda: self._agent.look_soon(),
            on_image_removed=self._images.changed,
        )
        self._cpus = CpuManager(
            config.cpus,
            read_topology(),
            config.reserved.cpu_millicores,
            root,
            runtime=self._runtime,
            clock=clock,
            workers=self._table.all,
            holds=self._table.may_hold,
        )
        self._cpus.start()
        self._table.admissions.give_cpus = self._cpus.give
        self._table.refuse_resize = self._cpus.refuse_resize
        self._devices = DeviceManager(root, clock, self._table.may_hold, self._on_devices)
        self._table.admissions.devices, self._table.admissions.spawn = self._devices, self._tasks.spawn
        self._device_sockets = DeviceSockets(root, self._devices, self._table.active, self._cpus)
        self._table.admissions.refuse = lambda pod: (
            self._care.refuse(pod) or config.node.sysctls.refuse(pod) or apparmor.refuse(pod, enabled=host.apparmor)
        )
        self._table.admissions.read_node = lambda then: self._tasks.spawn(self._agent.read(then), "node-read")
        self._table.admissions.tell = self._happenings.tell
        self._table.admissions.on_preempted = self._measures.preempted
        self._agent = NodeAgent(
            self._client,
            self._runtime,
            clock,
            identity,
            host,
            root,
            lambda: self._images.changes,
            tell=self._care.tell,
            pressures=self._care.conditions,
            problem=self._care.problem,
            volumes_in_use=lambda: self._volumes.in_use(),
            devices=self._devices.offer,
        )
        self._watch = RuntimeWatch(
            self._runtime,
            clock,
            str(layout.root),
            self._on_facts,
            self._on_listing,
            self._table.in_transition,
            self._table.expects_ends,
        )
        self._watch.observe = self._measures.relisted
        self._care.evictions.on_evicted = self._measures.evicted
        self._objects = NodeObjects(self._client, clock, self._upkeep.references_changed)
        self._runtime_classes = RuntimeClasses(self._client, clock)
        sources = config.sources.sources(config.node_name)
        self._static = StaticPods(sources, self._table, clock, lambda: self._mirrors.look())
        self._mirrors = Mirrors(self._client, clock, self._static.wanted, lambda: self._agent.node, self._report)
        self._statuses = StatusReporter(self._client, clock, self._facts(), self._mirrors.of)

        can_mount = config.can_mount and os.geteuid() == 0
        self._claims = Claims(self._client, clock, self._upkeep.references_changed)
        self._tokens = PodTokens(self._client, clock)
        self._csi = CsiDrivers(
            self._client, config.node_name, self._node, lambda: self._upkeep.references_changed(self._table.uids())
        )
        self._csi_volumes = CsiVolumes(
            self._client,
            self._csi,
            root.absolute(),
            config.node_name,
            clock,
            PodTokens(self._client, clock),
            Grows(self._client, self._recorder.event),
        )
        csi_usage = CsiUsage(self._csi_volumes, clock)
        handlers: dict[str, PluginHandler] = {"CSIPlugin": self._csi, "DevicePlugin": RegisteredDevices(self._devices)}
        self._plugins = PluginWatch(root, clock, handlers)
        self._volumes = VolumeManager(
            layout,
            self._objects,
            context,
            self._claims,
            self._tokens,
            can_mount=can_mount,
            more=[self._csi_volumes],
            bundles=self._objects.trust_bundles,
            node_object=self._node,
        )
        self._volumes.observe = self._measures.volume
        self._executor = Executor(
            runtime=self._runtime,
            watch=self._watch,
            images=self._images,
            volumes=self._volumes,
            mounts=ContainerMounts(layout, self._objects, context, self._volumes, can_mount=can_mount),
            objects=self._objects,
            runtime_classes=self._runtime_classes,
            equip=self._equip,
            statuses=self._statuses,
            happenings=self._happenings,
            clock=clock,
            layout=layout,
            node=context,
            node_object=self._node,
            groups=self._groups,
        )
        self._pods: Informer[corev1.Pod] = Informer(
            self._client, corev1.Pod, field_selector=f"spec.nodeName={config.node_name}", clock=clock
        )
        self._nodes: Informer[corev1.Node] = Informer(
            self._client, corev1.Node, field_selector=f"metadata.name={config.node_name}", clock=clock
        )
        self._servers = Servers(
            config,
            pods=self,
            runtime=self._runtime,
            images=self._care.images,
            volumes=self._volumes,
            told=csi_usage.known,
            client=self._client,
            measures=self._measures,
            layout=layout,
            host=host,
            clock=clock,
        )
        self.port, self.grpc_port = self._agent.port, self._agent.grpc_port = await self._servers.start()
        await self._device_sockets.start()
        self._tasks.spawn(certificates.keep(config, self._client, self._servers.renew), "certificates")
        self._tasks.spawn(self._agent.run(), "node-agent")
        self._tasks.spawn(self._statuses.run(), "status-reports")
        self._tasks.spawn(self._watch.follow(), "runtime-watch")
        rotation = LogRotation(self._runtime, clock, lambda: self._running_logs(layout), config.node.logs)
        self._tasks.spawn(rotation.run(), "log-rotation")
        self._tasks.spawn(self._servers.run(), "cpu-rates")
        self._tasks.spawn(csi_usage.run(), "csi-usage")
        self._tasks.spawn(self._begin(), "begin")

    async def _begin(self) -> None:
        """Bring reality and the API together, in the order that this needs."""
        self._objects.start()
        await self._learn_runtime()
        await self._listed.wait()
        # Static Pods are lived without an API server.
        await self._agent.described.wait()
        self._tasks.spawn(self._static.run(), "static-pods")
        await self._agent.registered.wait()
        self._nodes.on_event(lambda _old, new: self._agent.saw(new))
        self._nodes.on_event(lambda _old, new: self._pod_network.saw(new))
        self._nodes.start()
        self._pods.on_event(self._on_pod)
        self._pods.start()
        await asyncio.gather(self._pods.synced(), self._nodes.synced())
        if self._nodes.get(self._config.node_name) is None:
            # Deleted between its registration and our first look; no event tells of that.
            self._agent.saw(None)
        self._care.tell("Normal", "Starting", "Starting kubelet.")
        self._tasks.spawn(self._care.run(), "node-care")
        self._tasks.spawn(self._upkeep.renew(lambda: self._tokens.due() | self._csi_volumes.due()), "tokens")
        # Only now it is known what belongs to nobody.
        await self._static.heard.wait()
        self._tasks.spawn(self._mirrors.run(), "mirrors")
        self._table.complete = True
        self._table.adopt_orphans()
        self._tasks.spawn(self._plugins.run(), "plugins")
        self._tasks.spawn(self._upkeep.remove_orphans(self._volumes.remove_orphans), "orphaned-volumes")
        self._tasks.spawn(self._groups.run(self._clock), "pod-groups")
        self._tasks.spawn(self._cpus.run(), "cpus")

    async def _learn_runtime(self) -> None:
        """Wait for the runtime and learn its name; from now on it is told the node's Pod network."""
        while True:
            try:
                version = await self._runtime.version()
                break
            except RuntimeFailure as failure:
                self._log.warning("runtime.unreachable", endpoint=self._config.runtime_endpoint, error=failure)
                await self._clock.sleep(RUNTIME_RETRY_S)
        self._statuses.node = self._facts(version.runtime_name)
        self._tasks.spawn(self._pod_network.run(), "pod-network")

    async def stop(self) -> None:
        """Stop working; containers keep running. Safe after a failed start."""
        if self._servers is None:
            self._lock.release()
            return
        await self._servers.stop()
        await self._tasks.close()
        await asyncio.gather(self._pods.stop(), self._nodes.stop(), self._objects.stop(), self._runtime_classes.stop())
        await self._claims.stop()
        await asyncio.gather(*(worker.stop() for worker in self._table.all()))
        # Last of those that Pods wait for: one whose plugin is left would be turned away.
        await self._device_sockets.stop()
        await self._csi.stop()
        await self._images.stop()
        await self._recorder.stop()
        await self._runtime.close()
        await self._client.close()
        self._groups.stop()
        self._lock.release()

    # What the parts tell

    def _on_facts(self, identity: PodIdentity, facts: tuple[Fact, ...]) -> None:
        self._table.facts(identity, facts, self._watch.sequence)

    def _on_listing(self, listing: Listing) -> None:
        self._table.listed(listing)
        self._listed.set()

    def _on_devices(self) -> None:
        """There are other devices, or they are in another state."""
        self._agent.look_soon()
        for worker in self._table.all():
            if self._devices.wanted(worker.view.pod):
                self._statuses.mark(worker, urgent=True)

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if is_mirror(new or old or corev1.Pod()):
            self._mirrors.changed(old, new)
            return
        self._table.changed(old, new)
        if old is not None and new is not None and _told_downward(old) != _told_downward(new):
            self._upkeep.references_changed({new.metadata.uid})

    def shut_down(self) -> None:
        """The host goes down: end all Pods in order, where that was asked for. Returns at once."""
        self._tasks.spawn(self._care.shutdown.begin(), "shutdown")

    def _on_change(self, worker: PodWorker, urgent: bool) -> None:
        self._measures.changed(worker)
        self._care.pod_changed()
        self._table.admissions.pod_changed()
        self._cpus.pod_changed()
        if worker.is_gone:
            metadata = worker.view.pod.metadata
            shown = self._pods.get(f"{metadata.namespace}/{metadata.name}")
            self._table.reap(worker, in_api=shown is not None and shown.metadata.uid == metadata.uid)
            return
        if worker.machine.has_left:
            self._cpus.pod_ended(worker.uid)
            self._table.room_was_made()
        self._statuses.mark(worker, urgent)
        if worker.is_busy:
            self._watch.hurry()

    def _make_worker(self, pod: corev1.Pod) -> PodWorker:
        return PodWorker(
            pod,
            executor=MeasuredExecutor(self._executor, self._measures, self._clock.monotonic),
            runtime=self._runtime,
            happenings=self._happenings,
            clock=self._clock,
            host_ip=self._host_ips[0],
            on_change=self._on_change,
            on_probe=self._measures.probes.probed,
            longest_crash_wait_s=self._config.node.longest_crash_wait_s,
        )

    async def _equip(self, pod: corev1.Pod, container: corev1.Container, config: criv1.ContainerConfig) -> None:
        await self._devices.equip(pod, container, config)
        await self._cpus.equip(pod, container, config)

    def _drop_worker(self, worker: PodWorker) -> None:
        self._statuses.forget(worker.uid)
        self._claims.forget(worker.uid)
        self._tokens.forget(worker.uid)
        self._measures.forget(worker.uid)
        self._devices.pod_ended(worker.uid)
        self._cpus.pod_ended(worker.uid)
        self._tasks.spawn(worker.stop(), "worker-stop")

    def _node(self) -> corev1.Node:
        return self._agent.node or self._agent.local

    def _facts(self, runtime_name: str = "") -> NodeFacts:
        return NodeFacts(self._host_ips, runtime_name or "containerd", self._devices.health)

    def _report(self, pod: corev1.Pod) -> None:
        if (worker := self._table.get(pod.metadata.uid)) is not None:
            self._statuses.mark(worker, urgent=True)

    def _running_logs(self, layout: Layout) -> list[Log]:
        return [
            (run.id, Path(layout.log_file(worker.view.pod, run.name, run.attempt)))
            for worker in self._table.all()
            for run in worker.view.runtime.alive()
        ]

    # What the Node service asks

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """A Pod of this node by name."""
        return self._table.find(namespace, name)

    def all(self) -> list[PodWorker]:
        """All Pods of this node."""
        return list(self._table.all())

    def reported(self, worker: PodWorker) -> corev1.Pod:
        """A Pod with its status as the kubelet sees it."""
        pod = worker.view.pod
        status = pod_status(worker.view, self._statuses.node, self._clock.now())
        return corev1.Pod(metadata=pod.metadata, spec=pod.spec, status=status)


def _told_downward(pod: corev1.Pod) -> tuple[dict[str, str], dict[str, str]]:
    """What can change of that which a running Pod may be told about itself in files."""
    return dict(pod.metadata.labels), dict(pod.metadata.annotations)
