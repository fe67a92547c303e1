"""The store as a service: a member, its data directory, and its gRPC servers."""

import fcntl
import os
import random
from collections.abc import Callable
from pathlib import Path

import grpc

from navarch.protos.etcd import rpc_pb2_grpc
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
from navarch.services.base.serving import GrpcServer, RpcStatus
from navarch.services.base.tls import Credentials
from navarch.services.store.backend import Backend, MemoryBackend
from navarch.services.store.config import Config
from navarch.services.store.errors import CORRUPT, CorruptionError, EtcdError
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.member import StoreMember
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.log import Member, ReplicatedLog, StateMachine
from navarch.services.store.replication.memory import MemoryLog
from navarch.services.store.replication.raft import RaftLog
from navarch.services.store.replication.segments import sync_directory
from navarch.services.store.rpc.cluster import ClusterServicer
from navarch.services.store.rpc.kv import KVServicer
from navarch.services.store.rpc.lease import LeaseServicer
from navarch.services.store.rpc.maintenance import MaintenanceServicer
from navarch.services.store.rpc.watch import WatchServicer

_IDENTITY = b"identity"
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
        self._servers: list[GrpcServer] = []

    async def start(self) -> None:
        """Recover the data and serve. Raises CorruptionError, and OSError for directories and addresses."""
        backend, make_log = self._prepare()
        cluster_id, member_id = _identity(backend, self._rng)
        config = self.config
        urls = tuple(
            f"{scheme}://{address}"
            for scheme, address in (
                ("https" if config.credentials else "http", config.listen),
                ("http", config.listen_insecure),
            )
            if address
        )
        who = Member(member_id, config.name, (), urls)
        self.member = StoreMember(
            config, cluster_id, member_id, backend, self._clock, self._rng, lambda machine: make_log(who, machine)
        )
        await self.member.start()
        self.address = await self._serve(self.member, config.credentials, config.listen)
        if config.listen_insecure:
            self.insecure_address = await self._serve(self.member, None, config.listen_insecure)
        _log.info("store.serves", address=self.address, revision=self.member.machine.mvcc.revision)

    def _prepare(self) -> tuple[Backend, Callable[[Member, StateMachine], ReplicatedLog]]:
        directory = self.config.data_dir
        if directory is None:
            return MemoryBackend(), MemoryLog
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(directory / "lock")
        rng = self._rng

        def make_log(member: Member, machine: StateMachine) -> ReplicatedLog:
            return RaftLog(member, machine, Journal(directory / "journal"), rng)

        backend = LmdbBackend(directory / "data.mdb", self.config.quota_bytes)
        sync_directory(directory)
        return backend, make_log

    async def _serve(self, member: StoreMember, credentials: Credentials | None, listen: str) -> str:
        server = GrpcServer(credentials, translate=_translate, component="store")
        server.add(rpc_pb2_grpc.add_KVServicer_to_server, KVServicer(member))
        server.add(rpc_pb2_grpc.add_WatchServicer_to_server, WatchServicer(member))
        server.add(rpc_pb2_grpc.add_LeaseServicer_to_server, LeaseServicer(member))
        server.add(rpc_pb2_grpc.add_MaintenanceServicer_to_server, MaintenanceServicer(member))
        server.add(rpc_pb2_grpc.add_ClusterServicer_to_server, ClusterServicer(member))
        await server.start(listen)
        self._servers.append(server)
        return server.address

    async def stop(self) -> None:
        """Stop serving, write what is in memory, release the directory. Safe after a failed start; idempotent."""
        if self.member is not None:
            self.member.stopping = True
            for wake in self.member.streams:
                wake.set()
        for server in self._servers:
            await server.stop(0.5)
        if self.member is not None:
            await self.member.stop()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _identity(backend: Backend, rng: random.Random) -> tuple[int, int]:
    """Cluster and member id, drawn once and kept with the data."""
    stored = backend.get_value(_IDENTITY)
    if stored is None:
        stored = f"{rng.getrandbits(63) + 1:x} {rng.getrandbits(63) + 1:x}".encode()
        backend.put_value(_IDENTITY, stored)
        if isinstance(backend, LmdbBackend):
            backend.flush()
    cluster_id, member_id = stored.split()
    return int(cluster_id, 16), int(member_id, 16)


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
