"""A member at work: log, state machine, backend and watches, and the tasks that tie them together.

    request -> propose -> log -> state machine -> backend's layer in memory, watches -> answer
    later:  layer -> LMDB (applied index with it) -> log.release

The tasks: the keeper writes layers behind, the collector drops compacted history in small steps, the lease keeper
leads the leases where the log is led, the compactor follows the configured retention. None of them wakes without
work, except periodic compaction.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch.store_pb2_grpc import PeerStub
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.store import commands
from navarch.services.store.backend import Backend
from navarch.services.store.config import Config
from navarch.services.store.corruption import CorruptionCheck
from navarch.services.store.errors import NO_SPACE, NOT_SUPPORTED_FOR_LEARNER, REQUEST_TOO_LARGE, EtcdError
from navarch.services.store.leader_monitor import LeaderMonitor
from navarch.services.store.lease_keeper import LeaseKeeper
from navarch.services.store.lease_router import LeaseRouter
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.mvcc.store import Change
from navarch.services.store.replication.log import ReplicatedLog
from navarch.services.store.replication.node import Timing
from navarch.services.store.state_machine import StateMachine, grows
from navarch.services.store.watch import WatchHub

# etcd's default.
MAX_REQUEST_BYTES = 3 << 19
# A layer is written after this time or at this size, whichever is first; above the second size proposals wait.
LAYER_AGE_S = 1.0
LAYER_BYTES = 8 << 20
LAYER_FULL_BYTES = 64 << 20
# How often a watcher that asked for it hears of progress when nothing else happens; etcd's default.
PROGRESS_INTERVAL_S = 600.0
REVISION_CHECK_S = 300.0

_log = get_logger("store")
R = TypeVar("R", bound=Message)


class _Stamped(Protocol):
    @property
    def header(self) -> rpc_pb2.ResponseHeader: ...


S = TypeVar("S", bound=_Stamped)


class StoreMember:
    """What the services of `rpc` work on.

    make_log: makes the log for a member that has its state machine.
    """

    def __init__(
        self,
        config: Config,
        cluster_id: int,
        member_id: int,
        backend: Backend,
        clock: Clock,
        rng: random.Random,
        make_log: Callable[["StoreMember"], ReplicatedLog],
    ) -> None:
        self.clock = clock
        self.backend = backend
        self.quota_bytes = config.quota_bytes
        self.scratch_dir = config.data_dir
        self.machine = StateMachine(backend, clock.monotonic, self._applied)
        self.watches = WatchHub(self.machine.mvcc)
        self.log = make_log(self)
        # For calls to a peer, None when it cannot be reached; set by who knows the peers.
        self.peer_stub: Callable[[int], PeerStub | None] = lambda peer: None
        timing = Timing()
        self.lease_keeper = LeaseKeeper(self.machine, self.log, clock, timing)
        self.leases = LeaseRouter(self.lease_keeper, self.log, lambda peer: self.peer_stub(peer), clock)
        self.leader = LeaderMonitor(
            self.log, clock, timing.election_max_s, self.lease_keeper.changed, self._wake_streams
        )
        self.log.on_role = self.lease_keeper.role_changed
        self.corruption = CorruptionCheck(lambda: self.machine, self.log, lambda peer: self.peer_stub(peer), clock)
        # Streams that wait for something to send, woken to end at the stop or when the leader is missing.
        self.streams: set[asyncio.Event] = set()
        self.stopping = False
        self._config = config
        self._rng = rng
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._tasks = TaskOwner()
        self._dirty = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._keeping = asyncio.Lock()
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._copying = asyncio.Lock()
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="copier")
        self._compacted = asyncio.Event()
        self._collected = asyncio.Event()

    async def start(self) -> None:
        """Recover, then serve. Raises CorruptionError, OSError."""
        await self.log.start()
        if isinstance(self.backend, LmdbBackend):
            self._tasks.spawn(self._keep(self.backend), "keeper")
        self._tasks.spawn(self._collect(), "collector")
        self._tasks.spawn(self.lease_keeper.run(), "leases")
        self._tasks.spawn(self.leader.run(), "leader")
        self._tasks.spawn(self._notify_progress(), "progress")
        if self._config.auto_compaction_retention:
            self._tasks.spawn(self._compact(), "compactor")
        if self._config.corrupt_check_interval_s:
            self._tasks.spawn(self.corruption.run(self._config.corrupt_check_interval_s), "corruption")

    async def stop(self) -> None:
        """Stop serving; what is in memory is written. Idempotent."""
        self.stopping = True
        self._wake_streams()
        await self.log.stop()
        await self._tasks.close()
        self._keeper.shutdown()
        self._copier.shutdown()
        if isinstance(self.backend, LmdbBackend):
            self.backend.close()

    def _wake_streams(self) -> None:
        for wake in self.streams:
            wake.set()

    # For the services.

    def stamp(self, response: S) -> S:
        """Say who answers; the revision is there already."""
        header = response.header
        header.cluster_id = self._cluster_id
        header.member_id = self._member_id
        header.raft_term = self.log.term
        return response

    def answer(self, response: S) -> S:
        """Stamp, with the current revision."""
        response.header.revision = self.machine.mvcc.revision
        return self.stamp(response)

    @property
    def is_learner(self) -> bool:
        """Whether this member only listens; clients must ask another."""
        me = self.machine.members.get(self._member_id)
        return me is not None and me.is_learner

    def _refuse_as_learner(self) -> None:
        if self.is_learner:
            raise NOT_SUPPORTED_FOR_LEARNER()

    async def propose(self, request: Message, answer: type[R]) -> R:
        """Replicate a request; returns its stamped answer. Raises EtcdError."""
        self._refuse_as_learner()
        command = commands.encode(request)
        if len(command) > MAX_REQUEST_BYTES:
            raise REQUEST_TOO_LARGE()
        if grows(request) and self.backend.size_bytes() + len(command) > self.quota_bytes:
            await self._raise_no_space()
        if not self._room.is_set():
            await self._room.wait()
        response = await self.log.propose(command)
        assert isinstance(response, answer)
        self.stamp(response)  # type: ignore[type-var]
        return response

    async def _raise_no_space(self) -> None:
        if not any(alarm == rpc_pb2.NOSPACE for _, alarm in self.machine.alarms):
            _log.error("store.no_space", size_bytes=self.backend.size_bytes(), quota_bytes=self.quota_bytes)
            alarm = rpc_pb2.AlarmRequest(
                action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=self._member_id, alarm=rpc_pb2.NOSPACE
            )
            await self.log.propose(commands.encode(alarm))
        raise NO_SPACE()

    def _applied(self, changes: list[Change]) -> None:
        """A batch was applied: tell the watches, and wake the tasks that have something to do now."""
        self.watches.publish(changes)
        self._dirty.set()
        if isinstance(self.backend, LmdbBackend) and self.backend.pending_bytes >= LAYER_BYTES:
            self._full.set()
            if self.backend.pending_bytes >= LAYER_FULL_BYTES:
                self._room.clear()
        self.lease_keeper.applied()
        if self.machine.mvcc.collectable:
            self._collected.clear()
            self._compacted.set()

    async def read_barrier(self) -> None:
        """Return when reads here see everything acknowledged before. Raises EtcdError."""
        self._refuse_as_learner()
        await self.log.read_index()

    def new_lease_id(self) -> int:
        """An id for a lease whose creator left the choice to us."""
        return self._rng.getrandbits(62) + 1

    def new_member_id(self) -> int:
        """An id for a member that is added."""
        return self._rng.getrandbits(63) + 1

    async def collected(self) -> None:
        """Wait until what the last compaction forgot is dropped."""
        if self.machine.mvcc.collectable:
            await self._collected.wait()

    async def defragment(self) -> None:
        """Rewrite the data file. What is written meanwhile stays in memory; beyond a limit, proposals wait."""
        if isinstance(self.backend, LmdbBackend):
            await self._write_layer(self.backend)
            async with self._copying, self._keeping:
                await self._copy(self.backend.rewrite)
                self.backend.exchange()

    async def copy_data(self, path: Path) -> None:
        """Write a copy of the data as of now. An in-memory member has none: the copy is empty."""
        if not isinstance(self.backend, LmdbBackend):
            await asyncio.to_thread(path.touch)
            return
        await self._write_layer(self.backend)
        async with self._copying:
            await self._copy(self.backend.copy_to, path)

    async def _copy(self, work: Callable[..., None], *parameters: Path) -> None:
        copy = asyncio.get_running_loop().run_in_executor(self._copier, work, *parameters)
        try:
            await asyncio.shield(copy)
        finally:
            # Also when cancelled: until then the file must stay open.
            await asyncio.wait((copy,))

    async def become(self, machine: StateMachine, backend: LmdbBackend) -> None:
        """Go on with another state, loaded from a file that takes the place of ours. Raises OSError."""
        assert isinstance(self.backend, LmdbBackend)
        async with self._copying, self._keeping:
            self.backend.become(backend)
            self.machine.become(machine)
            self.watches.replaced()
            self._applied([])

    # The tasks.

    async def _keep(self, backend: LmdbBackend) -> None:
        try:
            while True:
                await self._dirty.wait()
                await self._first_of(self._full, LAYER_AGE_S)
                await self._write_layer(backend)
        except asyncio.CancelledError:
            # At a stop the last layer is written too, so that the next start has nothing to repeat.
            async with self._keeping:
                backend.flush()
            raise

    async def _first_of(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, at most this long."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _write_layer(self, backend: LmdbBackend) -> None:
        async with self._keeping:
            self._dirty.clear()
            self._full.clear()
            applied = self.machine.applied_index
            if backend.freeze():
                write = asyncio.get_running_loop().run_in_executor(self._keeper, backend.write)
                try:
                    await asyncio.shield(write)
                finally:
                    # Also when cancelled: the layer is in the thread's hands until it is done.
                    await asyncio.wait((write,))
                    write.result()
                    backend.thaw()
                self.log.release(applied)
            self._room.set()

    async def _collect(self) -> None:
        while True:
            await self._compacted.wait()
            self._compacted.clear()
            while self.machine.mvcc.collectable:
                self.machine.mvcc.collect()
                self._dirty.set()
                await asyncio.sleep(0)
            self._collected.set()

    async def _notify_progress(self) -> None:
        while True:
            await self.clock.sleep(PROGRESS_INTERVAL_S)
            self.watches.notify_progress()

    async def _compact(self) -> None:
        retention = self._config.auto_compaction_retention
        by_revision = self._config.auto_compaction_mode == "revision"
        interval_s = REVISION_CHECK_S if by_revision else max(1.0, retention / 10)
        # Revisions by age, the oldest in front, for the periodic mode.
        seen: deque[int] = deque(maxlen=10)
        while True:
            await self.clock.sleep(interval_s)
            revision = self.machine.mvcc.revision
            target = revision - retention if by_revision else seen[0] if len(seen) == seen.maxlen else 0
            seen.append(revision)
            # One member is enough; the others keep count, to go on when they lead.
            if target > max(self.machine.mvcc.compact_revision, 0) and self.log.status().is_leader:
                try:
                    await self.propose(rpc_pb2.CompactionRequest(revision=target), rpc_pb2.CompactionResponse)
                except EtcdError as failure:
                    _log.warning("store.not_compacted", revision=target, error=failure)
