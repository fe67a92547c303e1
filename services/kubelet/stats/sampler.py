"""Takes the figures of a node: one walk at most every few seconds, shared by all who ask.

CPU and memory come from the control groups, as the genuine kubelet has them from cAdvisor; where a container's group is
not to be found, from the runtime. Writable layers are the runtime's to measure. Directories are walked once a minute.
CPU times are noted every ten seconds, so that rates are known to the first who asks.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import stats_pb2
from navarch.services.base.clock import Clock
from navarch.services.kubelet.core.cgroup_names import CgroupNames
from navarch.services.kubelet.core.claims import claim_name
from navarch.services.kubelet.core.observed import Container
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.inspection import moment
from navarch.services.kubelet.node.host import read_cpu_ns as read_host_cpu_ns
from navarch.services.kubelet.node.host import read_load
from navarch.services.kubelet.node.usage import LOCAL_SOURCES, disk_use, mount_point
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime
from navarch.services.kubelet.stats import messages, system
from navarch.services.kubelet.stats.disks import Key, SlowReadings, directory, file_system, mounted
from navarch.services.kubelet.stats.groups import first_process, read_cpu_ns, read_group
from navarch.services.kubelet.stats.network import interfaces, main_interface, network_usage
from navarch.services.kubelet.stats.rates import PERIOD_S, Rates

# For so long one walk serves all who ask.
FRESH_S = 2.0
# What was not read for so long is no more, or its rate is of no use.
FORGOTTEN_S = 300.0
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class _Disks:
    """The node's own file system, that of images, that of writable layers; and what images and layers take."""

    node: stats_pb2.FsUsage
    images: stats_pb2.FsUsage
    containers: stats_pb2.FsUsage
    used_by_images: stats_pb2.FsUsage
    used_by_containers: stats_pb2.FsUsage


@dataclass(frozen=True, slots=True)
class _Subject:
    """A Pod with containers that run. group: its control group; began_at: Unix seconds."""

    pod: corev1.Pod
    group: str
    runs: tuple[Container, ...]
    began_at: float

    def group_of(self, run: Container) -> str:
        """Of one of its containers, as runtimes with the driver cgroupfs name it."""
        return f"{self.group}/{run.id}"

    def groups(self) -> list[str]:
        """All of them."""
        return [self.group, *map(self.group_of, self.runs)]


class Sampler:
    """The figures of one node. workers: its Pods; volume: where a volume of a Pod is, None while it is not.

    told: how full volumes are by the word of their drivers, which goes before what is measured here.
    """

    def __init__(
        self,
        *,
        node_name: str,
        runtime: Runtime,
        runtime_endpoint: str,
        layout: Layout,
        groups: CgroupNames,
        clock: Clock,
        workers: Callable[[], Iterable[PodWorker]],
        volume: Callable[[corev1.Pod, str], Path | None],
        told: Callable[[], Mapping[Key, stats_pb2.FsUsage]] = dict,
    ) -> None:
        self._node_name = node_name
        self._runtime = runtime
        self._runtime_endpoint = runtime_endpoint
        self._layout = layout
        self._groups = groups
        self._clock = clock
        self._workers = workers
        self._volume = volume
        self._told = told
        self._rates = Rates()
        self._slow = SlowReadings(clock)
        self._walking = asyncio.Lock()
        self._last: tuple[float, stats_pb2.Summary] | None = None

    async def summary(self, *, only_cpu_and_memory: bool = False) -> stats_pb2.Summary:
        """All figures; lent, never to be changed. Raises RuntimeFailure, OSError."""
        async with self._walking:
            if self._last is None or self._clock.monotonic() - self._last[0] >= FRESH_S:
                found = await self._walk()
                self._last = (self._clock.monotonic(), found)
            found = self._last[1]
        return messages.light(found) if only_cpu_and_memory else found

    @property
    def newest(self) -> stats_pb2.Summary | None:
        """The figures of the last walk, however old."""
        return self._last[1] if self._last is not None else None

    async def run(self) -> None:
        """Note CPU times, for ever."""
        while True:
            groups = [group for subject in self._subjects() for group in subject.groups()]
            readings = await asyncio.to_thread(_read_all, groups)
            at = self._clock.monotonic()
            self._rates.forget(before=at - FORGOTTEN_S)
            for group, cpu_ns in zip(groups, readings, strict=True):
                if cpu_ns is not None:
                    self._rates.nano_cores(group, at, cpu_ns)
            self._rates.nano_cores("/", at, read_host_cpu_ns())
            await self._clock.sleep(PERIOD_S)

    def close(self) -> None:
        """Take no more."""
        self._slow.close()

    def _subjects(self) -> list[_Subject]:
        found = []
        for worker in self._workers():
            if alive := worker.view.runtime.alive():
                box, pod = worker.view.runtime.sandbox(), worker.view.pod
                group = self._groups.of_pod(pod)
                found.append(_Subject(pod, group, tuple(alive), box.created_at if box is not None else 0.0))
        return found

    async def _walk(self) -> stats_pb2.Summary:
        subjects = self._subjects()
        stats = {one.attributes.id: one for one in await self._runtime.container_stats()}
        volumes = await self._slow.of({key: read for one in subjects for key, read in self._volume_readings(one.pod)})
        volumes |= self._told()
        info = await self._runtime.image_fs_info()

        def read() -> stats_pb2.Summary:
            disks = self._disks(info)
            pods = [self._pod(subject, stats, disks, volumes) for subject in subjects]
            return stats_pb2.Summary(node=self._node(disks), pods=pods)

        summary = await asyncio.to_thread(read)
        self._add_rates(summary, subjects)
        messages.stamp(summary, moment(self._clock.now()) or metav1.Time())
        return summary

    def _disks(self, info: criv1.ImageFsInfoResponse) -> _Disks:
        root = Path(self._layout.root)
        image_path = mount_point(info.image_filesystems, root)
        container_path = mount_point(info.container_filesystems, image_path)
        images, containers = file_system(image_path), file_system(container_path)
        used = [messages.layer(one, images) for one in info.image_filesystems] or [images]
        layers = [messages.layer(one, containers) for one in info.container_filesystems] or used
        return _Disks(file_system(root), images, containers, used[0], layers[0])

    def _node(self, disks: _Disks) -> stats_pb2.NodeUsage:
        now = self._clock.now()
        node = system.node_usage(self._node_name, read_load(Path(self._layout.root)), now)
        node.fs.CopyFrom(disks.node)
        node.runtime.image_fs.CopyFrom(disks.used_by_images)
        node.runtime.container_fs.CopyFrom(disks.used_by_containers)
        server = system.process_behind(self._runtime_endpoint)
        parts = [
            system.process_usage("kubelet", os.getpid(), now),
            system.process_usage("runtime", server, now) if server is not None else None,
            system.pods_usage(self._groups.all_pods),
        ]
        node.system_containers.extend(part for part in parts if part is not None)
        return node

    def _pod(
        self,
        subject: _Subject,
        stats: Mapping[str, criv1.ContainerStats],
        disks: _Disks,
        volumes: Mapping[Key, stats_pb2.FsUsage],
    ) -> stats_pb2.PodUsage:
        pod, metadata = subject.pod, subject.pod.metadata
        usage = stats_pb2.PodUsage(
            pod_ref=stats_pb2.PodReference(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
            start_time=moment(subject.began_at),
            containers=[self._container(subject, run, stats.get(run.id), disks) for run in subject.runs],
        )
        if (whole := read_group(subject.group)) is not None:
            messages.add_group(usage, whole)
            usage.process_stats.process_count = whole.processes
        else:
            messages.add_sum(usage)
        processes = (first_process(subject.group_of(run)) for run in subject.runs)
        if not pod.spec.host_network and (pid := next((pid for pid in processes if pid), None)):
            process = PROC / str(pid)
            usage.network.CopyFrom(network_usage(interfaces(process), main_interface(process)))
        for one in pod.spec.volumes:
            if (found := volumes.get((metadata.uid, one.name))) is not None:
                usage.volume.append(messages.volume(one.name, found, claim_name(pod, one), metadata.namespace))
        messages.add_ephemeral(usage, pod, disks.node)
        return usage

    def _container(
        self, subject: _Subject, run: Container, stats: criv1.ContainerStats | None, disks: _Disks
    ) -> stats_pb2.ContainerUsage:
        usage = stats_pb2.ContainerUsage(name=run.name, start_time=moment(run.started_at))
        if (found := read_group(subject.group_of(run))) is not None:
            messages.add_group(usage, found)
        elif stats is not None:
            messages.add_stats(usage, stats)
        if stats is not None:
            usage.rootfs.CopyFrom(messages.layer(stats.writable_layer, disks.containers))
        logs = disk_use(Path(self._layout.log_directory(subject.pod)) / run.name)
        usage.logs.CopyFrom(messages.within(disks.node))
        usage.logs.used_bytes, usage.logs.inodes_used = logs.bytes, logs.inodes
        return usage

    def _volume_readings(self, pod: corev1.Pod) -> Iterator[tuple[Key, Callable[[], stats_pb2.FsUsage]]]:
        """How to measure the volumes of a Pod that can be: those that are its own, and those by claims."""
        for volume in pod.spec.volumes:
            path, key = self._volume(pod, volume.name), (pod.metadata.uid, volume.name)
            if path is None:
                continue
            if claim_name(pod, volume):
                yield key, partial(mounted, path)
            elif any(volume.volume_source.HasField(kind) for kind in LOCAL_SOURCES):
                yield key, partial(directory, path)

    def _add_rates(self, summary: stats_pb2.Summary, subjects: Sequence[_Subject]) -> None:
        at = self._clock.monotonic()
        cpus = {"/": summary.node.cpu}
        cpus |= {f"system {one.name}": one.cpu for one in summary.node.system_containers}
        for subject, pod in zip(subjects, summary.pods, strict=True):
            cpus[subject.group] = pod.cpu
            for run, one in zip(subject.runs, pod.containers, strict=True):
                cpus[subject.group_of(run)] = one.cpu
        for name, cpu in cpus.items():
            if not cpu.HasField("usage_core_nano_seconds"):
                # It has ended meanwhile: that is no count of nothing.
                continue
            rate = self._rates.nano_cores(name, at, cpu.usage_core_nano_seconds)
            if rate is not None:
                cpu.usage_nano_cores = rate


def _read_all(groups: Iterable[str]) -> list[int | None]:
    return [read_cpu_ns(group) for group in groups]
