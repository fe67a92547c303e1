"""Registers the node, keeps its status true and its lease alive.

The lease is the heartbeat, renewed every ten seconds unless told otherwise. The status is looked at as often,
and written only when it says something new or is five minutes old. Until the node is Ready it is looked at
often, since somebody waits for that.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound
from navarch.services.api.meta import micro_time_from
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.client.events import EventType
from navarch.services.kubelet.core.devices import Offer
from navarch.services.kubelet.core.eviction_thresholds import Threshold, thresholds
from navarch.services.kubelet.node.host import Host, read_load
from navarch.services.kubelet.node.status import NodeFacts, Reservations, happenings, is_ready, node_status, same
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

# Tells the API server where it finds the streams of this node.
GRPC_PORT_ANNOTATION = "navarch.dev/kubelet-grpc-port"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_S = 40
STATUS_AT_LEAST_S = 300.0
NOT_READY_LOOK_S = 0.2
RETRY_S = 0.2
LONGEST_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What the node is called, what it offers, and how often it says so."""

    name: str
    addresses: Sequence[str]
    max_pods: int
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[corev1.Taint] = ()
    reserved: Reservations = field(default_factory=Reservations)
    heartbeat_s: float = 10.0
    thresholds: Sequence[Threshold] = field(default_factory=thresholds)
    provider_id: str = ""
    # Whether the Node is made when there is none.
    register: bool = True


class NodeAgent:
    """The Node object and the lease of one node."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        clock: Clock,
        identity: NodeIdentity,
        host: Host,
        root: Path,
        image_changes: Callable[[], int],
        *,
        tell: Callable[[EventType, str, str], None] = lambda *_: None,
        pressures: Callable[[], Sequence[str]] = tuple,
        problem: Callable[[], str] = str,
        volumes_in_use: Callable[[], Sequence[str]] = tuple,
        devices: Callable[[], Offer] = Offer,
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._clock = clock
        self._identity = identity
        self._host = host
        self._root = root
        self._image_changes = image_changes
        self._tell = tell
        self._pressures = pressures
        self._problem = problem
        self._volumes_in_use = volumes_in_use
        self._devices = devices
        self._images: Sequence[criv1.Image] = ()
        self._images_at: tuple[int, float] | None = None
        self._reported_at = 0.0
        self._lease: coordinationv1.Lease | None = None
        self._look_now = asyncio.Event()
        self._log = get_logger("kubelet.node")
        self.node: corev1.Node | None = None
        self.port = 10250
        # Where navarch.v1.Node is served; 0 for nowhere.
        self.grpc_port = 0
        self.registered = asyncio.Event()
        # The Node as this host describes it, for those who do not wait for the API server.
        self.local = corev1.Node()
        self.described = asyncio.Event()

    def look_soon(self) -> None:
        """Something that the status tells has changed."""
        self._look_now.set()

    def saw(self, node: corev1.Node | None) -> None:
        """The Node as the API server has it now; None when somebody deleted it."""
        if node is None:
            self.node = None
            self.registered.clear()
            self._look_now.set()
        elif self.node is None or int(node.metadata.resource_version) >= int(self.node.metadata.resource_version):
            self.node = node

    async def read(self, then: Callable[[], None]) -> None:
        """Read the Node, if the API server answers, and call back."""
        try:
            self.saw(await self._client.get(corev1.Node, self._identity.name))
        except ApiError as failure:
            self._log.info("node.unread", error=failure)
        then()

    async def run(self) -> None:
        """Keep node and lease, for ever."""
        await asyncio.gather(self._keep_status(), self._keep_lease())

    async def _keep_status(self) -> None:
        failures = 0
        while True:
            try:
                ready = await self._look()
                failures = 0
                pause_s = self._identity.heartbeat_s if ready else NOT_READY_LOOK_S
            except ApiError as failure:
                failures += 1
                self._log.warning("node.unreported", error=failure)
                pause_s = min(RETRY_S * 2.0 ** min(failures, 10), LONGEST_RETRY_S)
            await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._look_now.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._look_now.clear()

    async def _look(self) -> bool:
        """Compare the Node with the host, and write what differs. Returns whether the node is Ready."""
        facts = await self._facts()
        now = self._clock.now()
        if not self.described.is_set():
            self.local = self._described(facts, now)
            self.described.set()
        # Held on to: the Node may be found deleted during any wait.
        node = self.node or await self._register(facts, now)
        self.saw(node)
        node = await self._reconcile_metadata(node)
        status = node_status(facts, node.status, now)
        if not same(status, node.status) or now - self._reported_at >= STATUS_AT_LEAST_S:
            report = corev1.Node(metadata=node.metadata, spec=node.spec, status=status)
            try:
                self.saw(await self._client.update_status(report))
            except (Conflict, Forbidden, NotFound) as failure:
                # Forbidden: of another Node than the one that was read, by what it has become since.
                await self._reread(failure)
                return False
            self._reported_at = now
            self._tell_of(node.status, status)
            if is_ready(status) and not self.registered.is_set():
                self._log.info("node.ready", node=self._identity.name)
        self.registered.set()
        return is_ready(status)

    def _tell_of(self, old: corev1.NodeStatus, new: corev1.NodeStatus) -> None:
        name, boot_id = self._identity.name, new.node_info.boot_id
        if old.node_info.boot_id and old.node_info.boot_id != boot_id:
            self._tell("Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {boot_id}")
        for reason in happenings(old, new):
            self._tell("Normal", reason, f"Node {name} status is now: {reason}")

    async def _reread(self, failure: ApiError) -> None:
        self._log.info("node.changed", cause=failure)
        try:
            self.node = await self._client.get(corev1.Node, self._identity.name)
        except NotFound:
            self.node = None

    async def _facts(self) -> NodeFacts:
        answered: criv1.StatusResponse | None = None
        error, version = "", ""
        try:
            answer = await self._runtime.version()
            version = f"{answer.runtime_name}://{answer.runtime_version.removeprefix('v')}"
            answered = await self._runtime.full_status()
            await self._read_images()
        except RuntimeFailure as failure:
            error = str(failure)
        identity = self._identity
        return NodeFacts(
            name=identity.name,
            addresses=identity.addresses,
            host=self._host,
            load=read_load(self._root),
            max_pods=identity.max_pods,
            port=self.port,
            runtime_version=version,
            runtime=answered.status if answered is not None else None,
            runtime_error=error,
            images=self._images,
            reserved=identity.reserved,
            thresholds=identity.thresholds,
            pressures=self._pressures(),
            problem=self._problem(),
            handlers=answered.runtime_handlers if answered is not None else (),
            features=answered.features if answered is not None and answered.HasField("features") else None,
            volumes_in_use=self._volumes_in_use(),
            devices=self._devices(),
        )

    async def _read_images(self) -> None:
        """The list is long and changes seldom: read it after a pull of ours, and every five minutes."""
        changes, now = self._image_changes(), self._clock.monotonic()
        known = self._images_at
        if known is not None and known[0] == changes and now - known[1] < STATUS_AT_LEAST_S:
            return
        self._images = await self._runtime.list_images()
        self._images_at = (changes, now)

    def _labels(self) -> dict[str, str]:
        name, machine = self._identity.name, self._host.architecture
        return {
            "beta.kubernetes.io/arch": machine,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            **self._identity.labels,
        }

    def _annotations(self) -> dict[str, str]:
        return {GRPC_PORT_ANNOTATION: str(self.grpc_port)} if self.grpc_port else {}

    async def _register(self, facts: NodeFacts, now: float) -> corev1.Node:
        if not self._identity.register:
            return await self._client.get(corev1.Node, self._identity.name)
        node = self._described(facts, now)
        self._tell_of(corev1.NodeStatus(), node.status)
        try:
            created = await self._client.create(node)
        except AlreadyExists:
            return await self._client.get(corev1.Node, self._identity.name)
        self._log.info("node.registered", node=self._identity.name)
        return created

    def _described(self, facts: NodeFacts, now: float) -> corev1.Node:
        node = corev1.Node()
        node.metadata.name = self._identity.name
        node.metadata.labels.update(self._labels())
        node.metadata.annotations.update(self._annotations())
        node.spec.taints.extend(self._identity.taints)
        node.spec.provider_id = self._identity.provider_id
        node.status.CopyFrom(node_status(facts, node.status, now))
        return node

    async def _reconcile_metadata(self, node: corev1.Node) -> corev1.Node:
        missing = _differing(self._labels(), node.metadata.labels)
        unsaid = _differing(self._annotations(), node.metadata.annotations)
        if missing or unsaid:
            patch = {"metadata": {"labels": missing, "annotations": unsaid}}
            node = await self._client.patch(corev1.Node, self._identity.name, "", patch, "merge")
            self.saw(node)
        return node

    async def _keep_lease(self) -> None:
        failures = 0
        await self.registered.wait()
        while True:
            try:
                await self._renew()
                failures = 0
                pause_s = self._identity.heartbeat_s
            except ApiError as failure:
                failures += 1
                self._lease = None
                self._log.warning("lease.unrenewed", error=failure)
                pause_s = min(RETRY_S * 2.0 ** min(failures, 10), LONGEST_RETRY_S)
            await self._clock.sleep(pause_s)

    async def _renew(self) -> None:
        """Renew the lease on top of the version that we wrote last; after a surprise, read it anew."""
        now = micro_time_from(self._clock.now())
        if self._lease is None:
            try:
                self._lease = await self._client.get(coordinationv1.Lease, self._identity.name, LEASE_NAMESPACE)
            except NotFound:
                lease = coordinationv1.Lease()
                lease.metadata.name, lease.metadata.namespace = self._identity.name, LEASE_NAMESPACE
                self._fill(lease, now)
                self._lease = await self._client.create(lease)
                return
        lease = coordinationv1.Lease()
        lease.CopyFrom(self._lease)
        self._fill(lease, now)
        self._lease = await self._client.update(lease)

    def _fill(self, lease: coordinationv1.Lease, now: metav1.MicroTime) -> None:
        lease.spec.holder_identity = self._identity.name
        lease.spec.lease_duration_seconds = LEASE_S
        lease.spec.renew_time.CopyFrom(now)
        if self.node is not None and not lease.metadata.owner_references:
            lease.metadata.owner_references.add(
                api_version="v1", kind="Node", name=self._identity.name, uid=self.node.metadata.uid
            )


def _differing(wanted: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if present.get(key) != value}
