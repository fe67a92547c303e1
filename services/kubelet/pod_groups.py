"""Keeps the control groups of a node: of all Pods, of the classes, of each Pod, and what is reserved for the host.

A Pod's group is there, with its limits, before the runtime makes anything in it, and is removed with the Pod; what
a kubelet that was killed has left is removed at the next start. What somebody else writes to a Pod's group, or a
kubelet with other options has written, is put right.
"""

import asyncio
from collections.abc import Callable, Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.cgroups import ControlGroups, GroupFailure
from navarch.services.kubelet.core.cgroup_names import CLASSES
from navarch.services.kubelet.core.cgroup_settings import (
    GroupSettings,
    class_settings,
    pod_settings,
    sized,
)
from navarch.services.kubelet.core.linux_resources import cpu_shares
from navarch.services.kubelet.core.qos import GUARANTEED
from navarch.services.kubelet.core.sizes import Sizes
from navarch.services.kubelet.node.group_options import PODS, GroupOptions
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.node.status import Reservations

SWEEP_S = 60.0


class PodGroups:
    """Of one node. Does nothing where Pods have no groups of their own.

    pods: those that use the node now. uids: of all Pods that something of may be here. settled: a Pod by its uid,
    where it runs with all that it was granted.
    """

    def __init__(
        self,
        options: GroupOptions,
        pods: Callable[[], Iterable[corev1.Pod]],
        uids: Callable[[], Iterable[str]],
        groups: ControlGroups | None = None,
        settled: Callable[[str], corev1.Pod | None] = lambda _: None,
    ) -> None:
        self._options = options
        self._names = options.names
        self._settled = settled
        self._pods, self._uids = pods, uids
        self._groups = groups or ControlGroups()
        self._allocatable = GroupSettings()
        self._classes: dict[str, GroupSettings] = {}
        # What looked first must not act last, and a new group is empty for a while.
        self._lock = asyncio.Lock()
        self._log = get_logger("kubelet.groups")

    def start(self, host: Host, reserved: Reservations, processes: int) -> None:
        """Make the groups above the Pods', and set what is reserved. processes: how many the host can have.

        Raises GroupFailure where the host has not what is needed.
        """
        if not self._names.per_qos:
            return
        if missing := self._groups.missing():
            raise GroupFailure(
                f"no control groups for {', '.join(missing)} on this host; "
                "--cgroups-per-qos=false --enforce-node-allocatable=none does without"
            )
        shares = cpu_shares(host.cpus * 1000 - reserved.cpu_millicores)
        self._groups.make(self._names.all_pods, GroupSettings(shares))
        if PODS in self._options.enforced:
            self._allocatable = GroupSettings(
                memory_bytes=max(0, host.memory_bytes - reserved.memory_bytes),
                pids=max(1, processes - reserved.processes),
            )
        self._enforce()
        for group, amounts in self._options.reserved:
            self._reserve(group, amounts)

    def _enforce(self) -> None:
        """Set what Pods may use together. The kernel refuses less memory than they hold: then it is tried again."""
        try:
            self._groups.write(self._names.all_pods, self._allocatable)
        except GroupFailure as failure:
            self._log.warning("groups.not_enforced", error=failure)

    def _reserve(self, group: str, amounts: Reservations) -> None:
        """The groups of the host's own processes are the host's: they are set, never made."""
        if not self._groups.exists(group):
            raise GroupFailure(f"control group {group}, for which resources are reserved, is not there")
        self._groups.write(
            group,
            GroupSettings(
                cpu_shares(amounts.cpu_millicores) if amounts.cpu_millicores else None,
                memory_bytes=amounts.memory_bytes or None,
                pids=amounts.processes or None,
            ),
        )

    async def make(self, pod: corev1.Pod) -> None:
        """Have a Pod's group with its limits. Raises GroupFailure."""
        if not self._names.per_qos:
            return
        settings = pod_settings(pod, self._options.pod_max_pids)
        async with self._lock:
            await self._balance()
            await asyncio.to_thread(self._groups.make, self._names.of_pod(pod), settings)

    async def resize(self, pod: corev1.Pod, sizes: Sizes) -> None:
        """Give a Pod's group other sizes. Raises GroupFailure."""
        if not self._names.per_qos:
            return
        async with self._lock:
            await asyncio.to_thread(self._groups.make, self._names.of_pod(pod), sized(sizes))
            await self._balance()

    async def remove(self, pod: corev1.Pod) -> None:
        """The Pod is gone. Raises GroupFailure."""
        if not self._names.per_qos:
            return
        async with self._lock:
            for path in self._names.of_uid(pod.metadata.uid):
                await asyncio.to_thread(self._groups.remove, path)
            await self._balance()

    async def _balance(self) -> None:
        """Bring the classes' shares of the CPU up to date with the Pods. Raises GroupFailure."""
        for class_, settings in class_settings(self._pods()).items():
            if self._classes.get(class_) != settings:
                await asyncio.to_thread(self._groups.make, self._names.of_class(class_), settings)
                self._classes[class_] = settings

    async def run(self, clock: Clock) -> None:
        """At once, and again each minute: see to the groups of the Pods that run, and remove those of nobody."""
        while self._names.per_qos:
            self._enforce()
            async with self._lock:
                known = {self._names.as_written(uid) for uid in self._uids()}
                await asyncio.to_thread(self._remove_orphans, known)
            # One at a time: a Pod's resize waits for the lock, and comes after what was settled before it.
            for uid in list(self._uids()):
                async with self._lock:
                    await self._mend(uid)
            await clock.sleep(SWEEP_S)

    async def _mend(self, uid: str) -> None:
        """Set a Pod's group again where it has other limits. One that is being resized is left alone."""
        if (pod := self._settled(uid)) is None:
            return
        group, settings = self._names.of_pod(pod), pod_settings(pod, self._options.pod_max_pids)
        try:
            if await asyncio.to_thread(self._groups.differs, group, settings):
                self._log.info("group.mended", group=group)
                await asyncio.to_thread(self._groups.write, group, settings)
        except GroupFailure as failure:
            self._log.warning("group.not_mended", group=group, error=failure)

    def _remove_orphans(self, known: set[str]) -> None:
        for class_ in (GUARANTEED, *CLASSES):
            above = self._names.all_pods if class_ == GUARANTEED else self._names.of_class(class_)
            for name in self._groups.children(above):
                if (uid := self._names.uid_in(name)) and uid not in known:
                    self._log.info("group.orphan", group=f"{above}/{name}")
                    self._groups.remove(f"{above}/{name}")

    def stop(self) -> None:
        """Remove the groups above the Pods', where no Pod is left in them."""
        if self._names.per_qos:
            for path in (*map(self._names.of_class, CLASSES), self._names.all_pods):
                self._groups.remove_if_empty(path)
