"""What a member shows to Prometheus: etcd's names, wherever there is the same thing, so that its dashboards work.

Almost all is read from the member when somebody asks. What must be measured as it happens is measured once a flush of
the journal or a commit of LMDB, not once a request; and the way to the peers when somebody asks.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.base.metrics import Metrics
from navarch.services.store.errors import EtcdError
from navarch.services.store.member import StoreMember
from navarch.services.store.rpc.maintenance import ETCD_VERSION

# etcd's.
DISK_BUCKETS_S = tuple(0.001 * 2**power for power in range(14))
NETWORK_BUCKETS_S = tuple(0.0001 * 2**power for power in range(16))
# For one question to a peer while Prometheus waits.
PROBE_TIMEOUT_S = 1.0


class StoreMetrics:
    """The series of one member; `follow` once it is made."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._fsync = self.metrics.histogram(
            "etcd_disk_wal_fsync_duration_seconds", "Flushes of the journal.", buckets=DISK_BUCKETS_S
        )
        self._commit = self.metrics.histogram(
            "etcd_disk_backend_commit_duration_seconds", "Transactions of LMDB.", buckets=DISK_BUCKETS_S
        )
        self._round_trip = self.metrics.histogram(
            "etcd_network_peer_round_trip_time_seconds", "Ways to a peer and back.", ("To",), NETWORK_BUCKETS_S
        )
        self._leader_changes = self.metrics.counter("etcd_server_leader_changes_seen", "Other leaders than before.")
        self._leader_id = 0
        self._member: StoreMember | None = None

    def timed_fsync(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        """The same, measured."""

        def timed(descriptor: int) -> None:
            begin = time.perf_counter()
            sync(descriptor)
            self._fsync.observe(time.perf_counter() - begin)

        return timed

    def committed(self, seconds: float) -> None:
        """LMDB has written a transaction."""
        self._commit.observe(seconds)

    def follow(self, member: StoreMember, sent_bytes: Callable[[], Mapping[int, int]]) -> None:
        """Show this member. sent_bytes: by peer."""
        self._member = member
        self.metrics.registry.register(MemberCollector(member, sent_bytes))
        on_role = member.log.on_role

        def changed() -> None:
            on_role()
            leader_id = member.log.status().leader_id
            if leader_id and leader_id != self._leader_id:
                self._leader_id = leader_id
                self._leader_changes.inc()

        member.log.on_role = changed

    async def render(self) -> bytes:
        """All series in Prometheus' text format."""
        if self._member is not None:
            peers = set(self._member.machine.members) - {self._member.log.status().member_id}
            await asyncio.gather(*(self._probe(self._member, peer) for peer in peers))
        return self.metrics.render()

    async def _probe(self, member: StoreMember, peer: int) -> None:
        # Typed as a blocking stub, like all that are made.
        stub: Any = member.peer_stub(peer)
        if stub is None:
            return
        begin = time.perf_counter()
        try:
            await stub.Members(store_pb2.MembersRequest(), timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return
        self._round_trip.labels(f"{peer:x}").observe(time.perf_counter() - begin)

    async def health(self, query: Mapping[str, str]) -> str:
        """What keeps this member from serving, in etcd's words, "" for nothing; `exclude`: an alarm not to mind."""
        member = self._member
        if member is None:
            return "NOT STARTED"
        for _, alarm in sorted(member.machine.alarms):
            if (name := rpc_pb2.AlarmType.Name(alarm)) != query.get("exclude"):
                return f"ALARM {name}"
        if not member.log.status().leader_id:
            return "RAFT NO LEADER"
        if query.get("serializable") == "true":
            return ""
        try:
            await member.log.read_index()
        except EtcdError as failure:
            return f"QGET ERROR:{failure.message}"
        return ""


class MemberCollector(Collector):
    """Reads a member when the registry is rendered."""

    def __init__(self, member: StoreMember, sent_bytes: Callable[[], Mapping[int, int]]) -> None:
        self._member = member
        self._sent_bytes = sent_bytes

    def describe(self) -> list[Metric]:
        """Nothing yet: the member may not have started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All series."""
        for name, text, value in (*self._server(), *self._data()):
            if name.endswith("_total") and name not in _GAUGES_CALLED_TOTAL:
                yield CounterMetricFamily(name, text, value=value)
            else:
                yield GaugeMetricFamily(name, text, value=value)
        yield self._info("etcd_server_id", "server_id", f"{self._member.log.status().member_id:x}")
        yield self._info("etcd_server_version", "server_version", ETCD_VERSION)
        yield self._info("etcd_cluster_version", "cluster_version", ETCD_VERSION.rpartition(".")[0])
        yield from self._peers()

    def _server(self) -> Iterator[tuple[str, str, float]]:
        member, status = self._member, self._member.log.status()
        yield "etcd_server_has_leader", "Whether there is a leader.", bool(status.leader_id)
        yield "etcd_server_is_leader", "Whether this member is it.", status.is_leader
        yield "etcd_server_is_learner", "Whether this member only listens.", member.is_learner
        yield "etcd_server_proposals_committed_total", "Entries known to be committed.", status.commit_index
        yield "etcd_server_proposals_applied_total", "Entries applied here.", status.applied_index
        yield "etcd_server_proposals_pending", "Proposals without an answer yet.", status.pending
        yield "etcd_server_proposals_failed_total", "Proposals without an answer for good.", status.failed
        yield "etcd_server_quota_backend_bytes", "Where the data must not grow beyond.", member.quota_bytes

    def _data(self) -> Iterator[tuple[str, str, float]]:
        member, mvcc = self._member, self._member.machine.mvcc
        yield "etcd_mvcc_db_total_size_in_bytes", "The data file.", member.backend.size_bytes()
        yield "etcd_mvcc_db_total_size_in_use_in_bytes", "What of it is used.", member.backend.size_in_use_bytes()
        yield "etcd_debugging_mvcc_keys_total", "Keys.", len(mvcc.index)
        yield "etcd_debugging_mvcc_current_revision", "The revision.", mvcc.revision
        yield "etcd_debugging_mvcc_compact_revision", "Where history begins.", mvcc.compact_revision
        yield "etcd_debugging_mvcc_watcher_total", "Watches.", member.watches.count()
        yield "etcd_debugging_mvcc_watch_stream_total", "Streams of watches.", len(member.streams)

    def _peers(self) -> Iterator[Metric]:
        active = GaugeMetricFamily("etcd_network_active_peers", "Peers connected to.", labels=("Local", "Remote"))
        me = self._member.log.status().member_id
        for peer in sorted(set(self._member.machine.members) - {me}):
            active.add_metric((f"{me:x}", f"{peer:x}"), self._member.peer_stub(peer) is not None)
        yield active
        sent = CounterMetricFamily("etcd_network_peer_sent_bytes", "Bytes of messages sent.", labels=("To",))
        for peer, size in sorted(self._sent_bytes().items()):
            sent.add_metric((f"{peer:x}",), size)
        yield sent

    @staticmethod
    def _info(name: str, label: str, value: str) -> Metric:
        family = GaugeMetricFamily(name, "Always 1.", labels=(label,))
        family.add_metric((value,), 1)
        return family


# etcd calls them so, though they go down with a restart or a deletion.
_GAUGES_CALLED_TOTAL = frozenset(
    {
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total",
        "etcd_debugging_mvcc_keys_total",
        "etcd_debugging_mvcc_watcher_total",
        "etcd_debugging_mvcc_watch_stream_total",
    }
)
