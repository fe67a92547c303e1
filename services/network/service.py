"""The network of one node as a service: sees that the host is as the plan wants it, whatever changes or is changed.

Nodes and the kernel's network are followed; every change leads to a new look at both, a new plan, and what differs is
brought about (see `planner`, `difference`, `host`). Besides, everything is looked at every `CHECK_S`. Stopping leaves
all of it, so that Pods keep their network while the service is away; `host.tear_down` removes it.
"""

import asyncio
import socket
from collections.abc import Mapping
from ipaddress import ip_address

import grpc

from navarch.protos.navarch import network_pb2_grpc
from navarch.services.api import errors
from navarch.services.api.rpc_status import translate
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.dialing import channel
from navarch.services.base.exposition import Exposition
from navarch.services.base.inotify import changes
from navarch.services.base.log import get_logger
from navarch.services.base.metrics import Metrics
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.network import cni_config, condition
from navarch.services.network.condition import Condition
from navarch.services.network.config import Config
from navarch.services.network.facts import NodeFacts
from navarch.services.network.forward_policy import IptablesError
from navarch.services.network.host import Done, Host
from navarch.services.network.kernel import Address, DeviceAddress, Kernel
from navarch.services.network.masquerade import NftError
from navarch.services.network.netlink import KernelRefused
from navarch.services.network.netlink_events import NetlinkEvents
from navarch.services.network.nodes import Nodes
from navarch.services.network.planner import REFUSED, Plan, plan
from navarch.services.network.servicer import OTHER, READY, NetworkServicer, State
from navarch.services.network.sweeper import Sweeper

CHECK_S = 30.0
RETRY_S = 1.0
# Changes come in bursts: a link that goes takes its addresses and routes along.
SETTLE_S = 0.05
# What fails once may be a device that has just gone; what goes on failing is told on the Node.
FAILURES_TOLD = 3


class Network:
    """Keeps the network of one node."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._tasks = TaskOwner()
        self._log = get_logger("network")
        self._host = Host(config)
        self._dirty = asyncio.Event()
        self._kernel_events = NetlinkEvents(self._dirty.set)
        self._nodes: Nodes | None = None
        self._server: GrpcServer | None = None
        self._exposition: Exposition | None = None
        self._metrics = Metrics()
        self._peers = self._metrics.gauge("navarch_network_ways", "Pod CIDRs of other nodes, by how.", ("how",))
        self._operations = self._metrics.counter("navarch_network_operations", "Changes to the kernel's network.")
        self._syncs = self._metrics.histogram("navarch_network_sync_seconds", "Time to look, plan and change.")
        self._failed = self._metrics.counter("navarch_network_sync_failures", "Looks that ended with a failure.")
        self._failures = 0
        self.state = State(config.node_name, encryption=config.encryption)
        self.port = 0
        self._addresses: frozenset[DeviceAddress] = frozenset()
        # With which the API server is spoken to.
        self._source: Address | None = None

    async def start(self) -> None:
        """Begin to keep it so. Raises KernelRefused, NftError and OSError.

        Without an API server all is in place on return; else as soon as the Node has its Pod CIDRs.
        """
        config = self._config
        self._kernel_events.start()
        if config.api_server:
            self._nodes = Nodes(self._dial, config.node_name, self._clock, self._dirty.set)
            self._nodes.start()
        else:
            await self._sync(check_rules=True)
        if config.listen:
            self._server = GrpcServer(
                config.credentials, translate=translate, component="network", metrics=self._metrics
            )
            self._server.add(network_pb2_grpc.add_NetworkServicer_to_server, NetworkServicer(lambda: self.state))
            self.port = await self._server.start(config.listen)
        if config.listen_metrics:
            self._exposition = Exposition(self._render, self._health)
            await self._exposition.start(config.listen_metrics)
        if config.runtime_endpoint:
            folder = cni_config.addresses_dir(config.cni_conf_dir) / cni_config.NAME
            sweeper = Sweeper(folder, config.runtime_endpoint, self._clock, grace_s=config.address_grace_s)
            self._tasks.spawn(sweeper.run(), "network-addresses")
        self._tasks.spawn(self._watch_files(), "network-files")
        self._tasks.spawn(self._keep(), "network-keep")

    async def stop(self) -> None:
        """Stop looking after it; everything stays."""
        await self._tasks.close()
        self._kernel_events.stop()
        if self._server is not None:
            await self._server.stop(1.0)
        if self._exposition is not None:
            await self._exposition.stop()
        if self._nodes is not None:
            await self._nodes.stop()

    async def _render(self) -> bytes:
        return self._metrics.render()

    async def _health(self, query: Mapping[str, str]) -> str:
        return "" if self.state.name in (READY, OTHER) else f"{self.state.name}: {self.state.message}"

    def _dial(self) -> grpc.aio.Channel:
        self._source = source_towards(self._config.api_server)
        return channel(self._config.api_server, self._config.credentials, user_agent="navarch-network")

    async def _keep(self) -> None:
        """Look whenever something has changed, and now and then. A failure is retried soon."""
        while True:
            wait_s = CHECK_S
            checking = not self._dirty.is_set()
            self._dirty.clear()
            try:
                await self._sync(check_rules=checking)
                self._failures = 0
            except (KernelRefused, NftError, IptablesError, OSError, errors.ApiError) as failure:
                self._failures += 1
                self._failed.inc()
                self._log.warning("network.sync_failed", error=failure, failures=self._failures)
                await self._tell_failure(failure)
                wait_s = RETRY_S
            await self._changed_or(wait_s)
            await self._clock.sleep(SETTLE_S)

    async def _watch_files(self) -> None:
        """Look when a CNI configuration comes or goes, ours or another's."""
        self._config.cni_conf_dir.mkdir(parents=True, exist_ok=True)
        with changes(self._config.cni_conf_dir) as changed:
            while True:
                await changed.wait()
                changed.clear()
                self._dirty.set()

    async def _changed_or(self, seconds: float) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        change = asyncio.ensure_future(self._dirty.wait())
        try:
            await asyncio.wait((timer, change), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            change.cancel()

    async def _sync(self, *, check_rules: bool) -> None:
        own, others = self._facts()
        if own is None or not own.cidrs:
            lacks = "has no Pod CIDR" if own is not None else "is not known"
            self.state.waits(f"Node {self._config.node_name} {lacks} yet")
            return
        if foreign := self._host.foreign_config():
            if self.state.gives_way(own, foreign):
                self._log.warning("network.other", config=foreign, effect="routes and rules are left as they are")
            if self._nodes is not None:
                await self._nodes.give_way(foreign)
            return
        if self._nodes is not None:
            await self._nodes.tell_key(self._config.settings.public_key)
        with self._syncs.time():
            kernel = await self._host.observe()
            planned = plan(own, others, kernel, self._config.settings)
            await self._follow(kernel)
            done = await self._host.carry_out(planned, kernel, check_rules=check_rules)
        self._note(planned, done)
        await self._tell(planned)

    def _facts(self) -> tuple[NodeFacts | None, list[NodeFacts]]:
        if self._nodes is None:
            return NodeFacts(self._config.node_name, cidrs=self._config.pod_cidrs), []
        return self._nodes.own, self._nodes.others

    async def _follow(self, kernel: Kernel) -> None:
        """The links whose changes matter: all but those of Pods. And where the host's addresses go."""
        lost, self._addresses = self._addresses - kernel.addresses, kernel.addresses
        if self._nodes is not None and any(one.address == self._source for one in lost):
            # Calls of the old connection may take their time to end.
            self._tasks.spawn(self._nodes.reconnect(), "network-reconnect")
        followed = {*kernel.links, *self._config.settings.ownership.devices}
        links = {index: kernel.links.get(name) for index, name in socket.if_nameindex() if name in followed}
        self._kernel_events.links = links

    def _note(self, planned: Plan, done: Done) -> None:
        """Logs, metrics and what the gRPC service answers."""
        self._operations.inc(len(done.operations))
        was_ready, told = self.state.name == READY, self.state.message
        for way in self.state.planned(planned):
            self._log.info("peer.way", node=way.node, pod_cidr=way.cidr, how=way.how, via=way.via, reason=way.reason)
        counts = self.state.counts()
        for how, count in counts.items():
            self._peers.labels(how).set(count)
        if planned.conflict:
            if planned.conflict != told:
                self._log.error("network.conflict", error=planned.conflict)
        elif not was_ready:
            cidrs = ",".join(map(str, planned.cidrs))
            self._log.info("network.ready", pod_cidrs=cidrs, bridge=self._config.settings.bridge, mtu=planned.mtu)
        elif done.rules or done.files:
            self._log.info("network.changed", rules=done.rules, files=done.files, mtu=planned.mtu)

    async def _tell(self, planned: Plan) -> None:
        """On our Node. Raises ApiError."""
        if self._nodes is None:
            return
        warnings = {
            f"PeerRefused/{peer.node}": f"Pods of node {peer.node} are not reached: Pod CIDR {way.cidr}: {way.reason}"
            for peer in planned.peers
            for way in peer.ways
            if way.how == REFUSED
        }
        if planned.conflict:
            warnings["PodCIDROverlaps"] = planned.conflict
        self._nodes.warn(warnings)
        await self._nodes.tell(condition.of_plan(planned))

    async def _tell_failure(self, failure: Exception) -> None:
        """That this node's network cannot be made, if that lasts."""
        if self._nodes is None or self._failures < FAILURES_TOLD or isinstance(failure, errors.ApiError):
            return
        try:
            await self._nodes.tell(Condition("True", condition.NOT_CREATED, str(failure)))
        except errors.ApiError as refusal:
            self._log.warning("network.condition_untold", error=refusal)


def source_towards(server: str) -> Address | None:
    """This host's address for packets to "host:port"; None while there is no way. Sends nothing."""
    host, _, port = server.rpartition(":")
    try:
        for family, kind, _, _, target in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                probe.connect(target)
                return ip_address(probe.getsockname()[0])
    except OSError:
        return None
    return None
