"""The KV service."""

from typing import Any

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.store.member import StoreMember
from navarch.services.store.mvcc import checks, ranges
from navarch.services.store.mvcc import txn as evaluation

# etcd's default for operations in a transaction.
MAX_TXN_OPS = 128


class KVServicer(rpc_pb2_grpc.KVServicer):
    """Reads are linearizable unless they accept to be stale; writes go through the log."""

    def __init__(self, member: StoreMember) -> None:
        self._member = member

    async def Range(self, request: rpc_pb2.RangeRequest, context: Any) -> rpc_pb2.RangeResponse:
        """Read a range of keys."""
        self._member.leader.check(context)
        checks.check_range(request)
        if not request.serializable:
            await self._member.read_barrier()
        mvcc = self._member.machine.mvcc
        return self._member.stamp(ranges.evaluate(mvcc, request, mvcc.revision))

    async def Put(self, request: rpc_pb2.PutRequest, context: Any) -> rpc_pb2.PutResponse:
        """Set a key."""
        self._member.leader.check(context)
        checks.check_put(request)
        return await self._member.propose(request, rpc_pb2.PutResponse)

    async def DeleteRange(self, request: rpc_pb2.DeleteRangeRequest, context: Any) -> rpc_pb2.DeleteRangeResponse:
        """Delete a range of keys."""
        self._member.leader.check(context)
        checks.check_delete(request)
        return await self._member.propose(request, rpc_pb2.DeleteRangeResponse)

    async def Txn(self, request: rpc_pb2.TxnRequest, context: Any) -> rpc_pb2.TxnResponse:
        """Compare, then read and write atomically."""
        self._member.leader.check(context)
        checks.check_txn(request, MAX_TXN_OPS)
        if not evaluation.is_read_only(request):
            return await self._member.propose(request, rpc_pb2.TxnResponse)
        if not evaluation.is_serializable(request):
            await self._member.read_barrier()
        machine = self._member.machine
        return self._member.stamp(evaluation.transact(machine.mvcc, machine.lessor, machine.mvcc.begin(), request))

    async def Compact(self, request: rpc_pb2.CompactionRequest, context: Any) -> rpc_pb2.CompactionResponse:
        """Forget history below a revision; with `physical`, return when it is gone."""
        self._member.leader.check(context)
        response = await self._member.propose(request, rpc_pb2.CompactionResponse)
        if request.physical:
            await self._member.collected()
        return response
