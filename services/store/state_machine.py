"""The replicated state machine: committed commands in, answers and changes out. No I/O.

Everything here depends only on the commands and their order, so that every member and every replay comes to
the same state; the sole exception, lease expiry times, never influences an answer. A refusal (an unknown
lease, a compacted revision) is an answer too.
"""

import struct
from collections.abc import Callable, Sequence

from google.protobuf.message import Message

from navarch.protos.etcd import rpc_pb2
from navarch.services.store import commands
from navarch.services.store.backend import Backend
from navarch.services.store.errors import CORRUPT, NO_SPACE, EtcdError
from navarch.services.store.lease import Lessor
from navarch.services.store.mvcc import txn as evaluation
from navarch.services.store.mvcc.store import Change, MvccStore, WriteTxn
from navarch.services.store.replication.log import Entry, Outcome

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
            self.lessor.grant(lease_id, int(value), monotonic())
        self.alarms: set[Alarm] = {_ALARM_FORMAT.unpack(name[len(_ALARM) :]) for name, _ in backend.values(_ALARM)}
        self.mvcc = MvccStore(backend, self.lessor)
        applied = backend.get_value(_APPLIED)
        self.applied_index, self.applied_term = _APPLIED_FORMAT.unpack(applied) if applied else (0, 0)
        self._handlers: dict[type[Message], Callable[..., tuple[Message, list[Change]]]] = {
            rpc_pb2.PutRequest: self._put,
            rpc_pb2.DeleteRangeRequest: self._delete_range,
            rpc_pb2.TxnRequest: self._txn,
            rpc_pb2.CompactionRequest: self._compact,
            rpc_pb2.LeaseGrantRequest: self._lease_grant,
            rpc_pb2.LeaseRevokeRequest: self._lease_revoke,
            rpc_pb2.AlarmRequest: self._alarm,
        }

    def apply(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Apply committed entries in order, each once; returns their answers or refusals."""
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        for entry in entries:
            outcomes.append(self._apply(entry.command, changes) if entry.command else None)
        if entries:
            self.applied_index, self.applied_term = entries[-1].index, entries[-1].term
            self._backend.put_value(_APPLIED, _APPLIED_FORMAT.pack(self.applied_index, self.applied_term))
        self._on_applied(changes)
        return outcomes

    def _apply(self, command: bytes, changes: list[Change]) -> Outcome:
        request = commands.decode(command)
        try:
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
        self.lessor.grant(request.ID, ttl_s, self._monotonic())
        self._backend.put_value(_LEASE + _LEASE_FORMAT.pack(request.ID), str(ttl_s).encode())
        return rpc_pb2.LeaseGrantResponse(header=self._header(), ID=request.ID, TTL=ttl_s), []

    def _lease_revoke(self, request: rpc_pb2.LeaseRevokeRequest) -> tuple[Message, list[Change]]:
        keys = self.lessor.revoke(request.ID)
        txn = self._begin()
        for key in keys:
            txn.delete(key)
        self._backend.delete_value(_LEASE + _LEASE_FORMAT.pack(request.ID))
        changes = txn.commit()
        return rpc_pb2.LeaseRevokeResponse(header=self._header()), changes

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
