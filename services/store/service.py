"""The store as a service: a member, its data directory, and its gRPC servers."""

import asyncio
import contextlib
import fcntl
import os
import random
from collections.abc import Callable
from pathlib import Path

import grpc

from navarch.protos.etcd import rpc_pb2_grpc
from navarch.protos.navarch import store_pb2_grpc
from navarch.protos.navarch.store_pb2 import MembersReply, MembersRequest
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.exposition import Exposition
from navarch.services.base.log import get_logger
from navarch.services.base.serving import GrpcServer, RpcStatus
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.store.backend import Backend, MemoryBackend
from navarch.services.store.bootstrap import BootstrapError, Identity, identify
from navarch.services.store.config import Config
from navarch.services.store.errors import CORRUPT, CorruptionError, EtcdError
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.member import StoreMember
from navarch.services.store.metrics import StoreMetrics
from navarch.services.store.presence import Presence
from navarch.services.store.replication.alone import NoPeers
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.log import ReplicatedLog
from navarch.services.store.replication.memory import MemoryLog
from navarch.services.store.replication.peers import Peers
from navarch.services.store.replication.raft import RaftLog
from navarch.services.store.replication.segments import SegmentWriter, sync_directory
from navarch.services.store.replication.snapshots import SnapshotReceiver
from navarch.services.store.replication.transport import Transport
from navarch.services.store.rpc.cluster import ClusterServicer
from navarch.services.store.rpc.kv import KVServicer
from navarch.services.store.rpc.lease import LeaseServicer
from navarch.services.store.rpc.maintenance import MaintenanceServicer
from navarch.services.store.rpc.peer import PeerHandlers, PeerServicer
from navarch.services.store.rpc.watch import WatchServicer
from navarch.services.store.snapshot_state import MemberSnapshots, complete_installation

HAND_OVER_TIMEOUT_S = 2.0
STOP_GRACE_S = 0.5
_log = get_logger("store")


class StoreService:
    """One member of a store, started and stopped. Not restartable: make another."""

    def __init__(self, config: Config, *, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self.config = config
        self.address = ""
        self.insecure_address = ""
        self.member: StoreMember | None = None
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        self._lock = -1
        self._installed: tuple[int, int] | None = None
        self._servers: list[GrpcServer] = []
        self._tasks = TaskOwner()
        self._metrics = StoreMetrics()
        self._exposition = Exposition(self._metrics.render, self._metrics.health)

    async def start(self) -> None:
        """Recover the data and serve.

        Raises CorruptionError, BootstrapError and RemovedError, and OSError for directories and addresses.
        """
        config = self.config
        backend = self._open()
        try:
            identity = await identify(config, backend, self._clock, self._rng)
        except BaseException:
            if isinstance(backend, LmdbBackend):
                backend.close()
            raise
        peers = None
        if config.listen_peer:
            if config.data_dir is None:
                raise BootstrapError("a member with peers needs a data directory")
            peers = Peers(identity.cluster_id, identity.member_id, config.peer_credentials, self._clock, self._rng)
        member = self.member = StoreMember(
            config,
            identity.cluster_id,
            identity.member_id,
            backend,
            self._clock,
            self._rng,
            lambda member: self._make_log(identity, member, peers or NoPeers()),
        )
        self._metrics.follow(member, peers.sent_bytes if peers is not None else dict)
        presence = Presence(config, identity, member)
        presence.check()
        await member.start()
        if config.listen_metrics:
            await self._exposition.start(config.listen_metrics)
        if peers is not None:
            member.peer_stub = peers.stub
            await self._serve_peers(member, identity, peers, presence.exchanged)
            if config.initial_corrupt_check:
                await member.corruption.check_start()
            self._tasks.spawn(presence.watch(), "presence")
        self.address = await self._serve(member, config.credentials, config.listen)
        if config.listen_insecure:
            self.insecure_address = await self._serve(member, None, config.listen_insecure)
        self._tasks.spawn(presence.publish(), "publish")
        _log.info("store.serves", address=self.address, revision=member.machine.mvcc.revision)

    def _open(self) -> Backend:
        directory = self.config.data_dir
        if directory is None:
            return MemoryBackend()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(directory / "lock")
        self._installed = complete_installation(directory)
        backend = LmdbBackend(directory / "data.mdb", self.config.quota_bytes)
        backend.committed = self._metrics.committed
        sync_directory(directory)
        return backend

    def _make_log(self, identity: Identity, member: StoreMember, transport: Transport) -> ReplicatedLog:
        directory = self.config.data_dir
        if directory is None:
            return MemoryLog(identity.member_id, member.machine)
        path = directory / "journal"
        journal = Journal(path, SegmentWriter(path, self._metrics.timed_fsync(os.fdatasync)))
        snapshots = MemberSnapshots(member, directory)
        return RaftLog(
            identity.member_id,
            member.machine,
            journal,
            self._rng,
            self._clock,
            transport,
            snapshots,
            installed=self._installed,
        )

    async def _serve_peers(
        self, member: StoreMember, identity: Identity, peers: Peers, exchange: Callable[[MembersRequest], MembersReply]
    ) -> None:
        config, log, machine = self.config, member.log, member.machine
        assert isinstance(log, RaftLog), "a member with peers has a data directory"
        assert config.data_dir is not None
        handlers = PeerHandlers(
            receiver=log,
            roster=machine,
            snapshots=SnapshotReceiver(config.data_dir, log.install, lambda: machine.applied_index),
            leases=member.lease_keeper,
            members=exchange,
            appeared=peers.appeared,
            hash_kv=member.corruption.answer,
        )
        credentials = config.peer_credentials
        server = GrpcServer(
            credentials, translate=_translate, component="store-peer", light=True, metrics=self._metrics.metrics
        )
        servicer = PeerServicer(identity.cluster_id, identity.member_id, handlers)
        server.add(store_pb2_grpc.add_PeerServicer_to_server, servicer)
        # Where other members forward changes of the members to.
        cluster = ClusterServicer(member, credentials, forwards=False)
        server.add(rpc_pb2_grpc.add_ClusterServicer_to_server, cluster)
        await server.start(config.listen_peer)
        self._servers.append(server)

    async def _serve(self, member: StoreMember, credentials: Credentials | None, listen: str) -> str:
        server = GrpcServer(
            credentials, translate=_translate, component="store", light=True, metrics=self._metrics.metrics
        )
        server.add(rpc_pb2_grpc.add_KVServicer_to_server, KVServicer(member))
        server.add(rpc_pb2_grpc.add_WatchServicer_to_server, WatchServicer(member))
        server.add(rpc_pb2_grpc.add_LeaseServicer_to_server, LeaseServicer(member))
        server.add(rpc_pb2_grpc.add_MaintenanceServicer_to_server, MaintenanceServicer(member))
        cluster = ClusterServicer(member, self.config.peer_credentials)
        server.add(rpc_pb2_grpc.add_ClusterServicer_to_server, cluster)
        await server.start(listen)
        self._servers.append(server)
        return server.address

    async def stop(self) -> None:
        """Hand over, stop serving, write what is in memory, release the directory. Safe after a failed start."""
        member = self.member
        if member is not None:
            await self._hand_over(member)
            member.stopping = True
            for wake in member.streams:
                wake.set()
        for server in self._servers:
            await server.stop(STOP_GRACE_S)
        await self._exposition.stop()
        await self._tasks.close()
        if member is not None:
            await member.stop()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _hand_over(self, member: StoreMember) -> None:
        """Have another member lead, so that nobody waits for an election."""
        if member.log.status().is_leader and len(member.machine.membership.voters) > 1:
            with contextlib.suppress(EtcdError, TimeoutError):
                async with asyncio.timeout(HAND_OVER_TIMEOUT_S):
                    await member.log.transfer(0)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failure:
        os.close(descriptor)
        raise OSError(f"{path.parent} is in use by another store") from failure
    return descriptor


def _translate(failure: Exception) -> RpcStatus | None:
    if isinstance(failure, CorruptionError):
        _log.error("store.corrupt", error=failure)
        return grpc.StatusCode.DATA_LOSS, CORRUPT.message, ()
    return (failure.code, failure.message, ()) if isinstance(failure, EtcdError) else None
