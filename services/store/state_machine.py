"""The replicated state machine: committed commands in, answers and changes out. No I/O.

Everything here depends only on the commands and their order, so that every member and every replay comes to
the same state; the sole exception, lease expiry times, never influences an answer. A refusal (an unknown
lease, a compacted revision) is an answer too.
"""

import struct
from collections.abc import Callable, Mapping, Sequence, Set

from google.protobuf.message import Message

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.store import commands
from navarch.services.store.backend import Backend
from navarch.services.store.errors import CORRUPT, LEADER_CHANGED, NO_SPACE, EtcdError
from navarch.services.store.lease import Lease, Lessor
from navarch.services.store.membership import Members, to_message
from navarch.services.store.mvcc import txn as evaluation
from navarch.services.store.mvcc.store import Change, MvccStore, WriteTxn
from navarch.services.store.replication.log import Entry, Member, Outcome

_APPLIED = b"applied"
_APPLIED_FORMAT = struct.Struct(">QQ")
_LEASE = b"lease/"
_LEASE_FORMAT = struct.Struct(">q")
_ALARM = b"alarm/"
_ALARM_FORMAT = struct.Struct(">QB")

# A member and what it complains about.
Alarm = tuple[int, rpc_pb2.AlarmType]


class StateMachine:
    """Keys, leases and alarms behind `apply`.

    monotonic: the clock for lease expiry. on_applied: gets what each batch changed, perhaps nothing, before any of
    its answers is given out.
    """

    def __init__(
        self,
        backend: Backend,
        monotonic: Callable[[], float],
        on_applied: Callable[[list[Change]], None] = lambda changes: None,
    ) -> None:
        self._backend = backend
        self._monotonic = monotonic
        self._on_applied = on_applied
        self.lessor = Lessor()
        for name, value in backend.values(_LEASE):
            (lease_id,) = _LEASE_FORMAT.unpack(name[len(_LEASE) :])
            ttl_s, _, checkpointed_s = value.partition(b" ")
            self.lessor.grant(lease_id, int(ttl_s), monotonic())
            self.lessor.checkpoint(lease_id, int(checkpointed_s or 0))
        self.alarms: set[Alarm] = {_ALARM_FORMAT.unpack(name[len(_ALARM) :]) for name, _ in backend.values(_ALARM)}
        self.membership = Members.load(backend)
        self.members: Mapping[int, Member] = self.membership.by_id
        self.removed: Set[int] = self.membership.removed
        self.mvcc = MvccStore(backend, self.lessor)
        self.applied_index, self.applied_term = applied_of(backend.get_value)
        self._handlers: dict[type[Message], Callable[..., tuple[Message, list[Change]]]] = {
            rpc_pb2.PutRequest: self._put,
            rpc_pb2.DeleteRangeRequest: self._delete_range,
            rpc_pb2.TxnRequest: self._txn,
            rpc_pb2.CompactionRequest: self._compact,
            rpc_pb2.LeaseGrantRequest: self._lease_grant,
            rpc_pb2.LeaseRevokeRequest: self._lease_revoke,
            store_pb2.LeaseCheckpoint: self._lease_checkpoint,
            store_pb2.LeaseExpiry: self._lease_expiry,
            rpc_pb2.AlarmRequest: self._alarm,
        }

    def become(self, other: "StateMachine") -> None:
        """Take the place of a machine loaded from what our backend holds by now."""
        self.lessor, self.alarms = other.lessor, other.alarms
        self.membership, self.members, self.removed = other.membership, other.members, other.removed
        self.mvcc.become(other.mvcc, other.lessor)
        self.applied_index, self.applied_term = other.applied_index, other.applied_term

    def apply(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Apply committed entries in order, each once; returns their answers or refusals."""
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        for entry in entries:
            outcomes.append(self._apply(entry, changes) if entry.command else None)
        if entries:
            self.applied_index, self.applied_term = entries[-1].index, entries[-1].term
            self._backend.put_value(_APPLIED, _APPLIED_FORMAT.pack(self.applied_index, self.applied_term))
        self._on_applied(changes)
        return outcomes

    def _apply(self, entry: Entry, changes: list[Change]) -> Outcome:
        request = commands.decode(entry.command)
        try:
            if isinstance(request, store_pb2.MembershipChange):
                return self._change_members(request, entry.index)
            if isinstance(request, store_pb2.LeaseCheckpoint | store_pb2.LeaseExpiry) and request.term != entry.term:
                raise LEADER_CHANGED()
            self._check_alarms(request)
            response, changed = self._handlers[type(request)](request)
        except EtcdError as refusal:
            return refusal
        changes += changed
        return response

    def _check_alarms(self, request: Message) -> None:
        if not self.alarms or isinstance(request, rpc_pb2.AlarmRequest):
            return
        if any(alarm == rpc_pb2.CORRUPT for _, alarm in self.alarms):
            raise CORRUPT()
        if grows(request):
            raise NO_SPACE()

    def _begin(self) -> WriteTxn:
        return self.mvcc.begin()

    def _put(self, request: rpc_pb2.PutRequest) -> tuple[Message, list[Change]]:
        evaluation.check_put(self.mvcc, self.lessor, request)
        txn = self._begin()
        return evaluation.put(self.mvcc, txn, request), txn.commit()

    def _delete_range(self, request: rpc_pb2.DeleteRangeRequest) -> tuple[Message, list[Change]]:
        txn = self._begin()
        return evaluation.delete_range(self.mvcc, txn, request), txn.commit()

    def _txn(self, request: rpc_pb2.TxnRequest) -> tuple[Message, list[Change]]:
        txn = self._begin()
        return evaluation.transact(self.mvcc, self.lessor, txn, request), txn.commit()

    def _compact(self, request: rpc_pb2.CompactionRequest) -> tuple[Message, list[Change]]:
        self.mvcc.compact(request.revision)
        return rpc_pb2.CompactionResponse(header=self._header()), []

    def _lease_grant(self, request: rpc_pb2.LeaseGrantRequest) -> tuple[Message, list[Change]]:
        ttl_s = self.lessor.clamp_ttl(request.TTL)
        self._keep_lease(self.lessor.grant(request.ID, ttl_s, self._monotonic()))
        return rpc_pb2.LeaseGrantResponse(header=self._header(), ID=request.ID, TTL=ttl_s), []

    def _lease_revoke(self, request: rpc_pb2.LeaseRevokeRequest) -> tuple[Message, list[Change]]:
        changes = self._end_lease(request.ID)
        return rpc_pb2.LeaseRevokeResponse(header=self._header()), changes

    def _lease_expiry(self, request: store_pb2.LeaseExpiry) -> tuple[Message, list[Change]]:
        known = (lease_id for lease_id in request.ids if self.lessor.get(lease_id) is not None)
        return store_pb2.LeaseExpired(), [change for lease_id in known for change in self._end_lease(lease_id)]

    def _end_lease(self, lease_id: int) -> list[Change]:
        keys = self.lessor.revoke(lease_id)
        txn = self._begin()
        for key in keys:
            txn.delete(key)
        self._backend.delete_value(_LEASE + _LEASE_FORMAT.pack(lease_id))
        return txn.commit()

    def _lease_checkpoint(self, request: store_pb2.LeaseCheckpoint) -> tuple[Message, list[Change]]:
        for left in request.leases:
            if (lease := self.lessor.checkpoint(left.id, left.ttl_s)) is not None:
                self._keep_lease(lease)
        return store_pb2.LeaseCheckpointed(), []

    def _keep_lease(self, lease: Lease) -> None:
        value = f"{lease.ttl_s} {lease.checkpointed_s}" if lease.checkpointed_s else str(lease.ttl_s)
        self._backend.put_value(_LEASE + _LEASE_FORMAT.pack(lease.id), value.encode())

    def _alarm(self, request: rpc_pb2.AlarmRequest) -> tuple[Message, list[Change]]:
        """Activate or deactivate alarms; member 0 in a deactivation means any."""
        named = (request.memberID, request.alarm)
        if request.action == rpc_pb2.AlarmRequest.ACTIVATE:
            self.alarms.add(named)
            self._backend.put_value(_ALARM + _ALARM_FORMAT.pack(*named), b"")
            touched = {named}
        else:
            touched = {
                (member, alarm)
                for member, alarm in self.alarms
                if request.memberID in (0, member) and request.alarm == alarm
            }
            self.alarms -= touched
            for lifted in touched:
                self._backend.delete_value(_ALARM + _ALARM_FORMAT.pack(*lifted))
        response = rpc_pb2.AlarmResponse(header=self._header())
        for member, alarm in sorted(touched):
            response.alarms.add(memberID=member, alarm=alarm)
        return response, []

    def adopt_members(self, members: Members) -> None:
        """Take over what others know of the members, ahead of the log."""
        self.membership, self.members, self.removed = members, members.by_id, members.removed
        members.store(self._backend)

    def _change_members(self, change: store_pb2.MembershipChange, index: int) -> Message:
        """Also possible in a full or corrupt cluster, whose members may have to be replaced."""
        changed = self.membership.apply(change, index)
        if changed is not self.membership:
            self.adopt_members(changed)
        return store_pb2.MembershipChanged(members=[to_message(member) for member in self.members.values()])

    def _header(self) -> rpc_pb2.ResponseHeader:
        return rpc_pb2.ResponseHeader(revision=self.mvcc.revision)


def grows(request: Message) -> bool:
    """Whether a command may add data, which a full store refuses. Deleting and compacting stay possible."""
    if isinstance(request, rpc_pb2.TxnRequest):
        return any(
            grows(op.request_put) if op.HasField("request_put") else grows(op.request_txn)
            for op in (*request.success, *request.failure)
            if op.HasField("request_put") or op.HasField("request_txn")
        )
    return isinstance(request, rpc_pb2.PutRequest | rpc_pb2.LeaseGrantRequest)


def applied_of(get_value: Callable[[bytes], bytes | None]) -> tuple[int, int]:
    """Index and term of the last entry that is part of stored values, (0, 0) for none."""
    stored = get_value(_APPLIED)
    return _APPLIED_FORMAT.unpack(stored) if stored else (0, 0)
