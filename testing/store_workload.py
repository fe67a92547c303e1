"""Clients of a store under faults: what they were told makes a history, to be judged when the run is over.

An answer that did not come leaves a write's outcome unknown. Each write's value is its own, which keeps the judgement
short. Clients pause between operations: faults, not load, are what is tried.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.dialing import channel
from navarch.testing.history import (
    Action,
    Answer,
    Answered,
    Compare,
    Delete,
    Get,
    ModRevisionIs,
    Operation,
    Put,
    Seen,
    Step,
    Txn,
    ValueIs,
    compare_and_swap,
)

PREFIX, PREFIX_END = b"/h/", b"/h0"
KEYS = [b"/h/%d" % number for number in range(6)]
CALL_TIMEOUT_S = 2.0
PAUSE_S = 0.02
# Answers by which a request was certainly not carried out.
_REFUSALS = ("failed to connect", "not supported for learner")
Addresses = Callable[[], Sequence[str]]


def request_of(action: Action) -> rpc_pb2.TxnRequest:
    """An action as the store takes it; all are Txns."""
    txn = action if isinstance(action, Txn) else Txn(success=(action,))
    return rpc_pb2.TxnRequest(
        compare=map(_compare, txn.compares), success=map(_step, txn.success), failure=map(_step, txn.failure)
    )


def _compare(compare: Compare) -> rpc_pb2.Compare:
    if isinstance(compare, ValueIs):
        return rpc_pb2.Compare(key=compare.key, target=rpc_pb2.Compare.VALUE, value=compare.value)
    return rpc_pb2.Compare(key=compare.key, target=rpc_pb2.Compare.MOD, mod_revision=compare.revision)


def _step(step: Step) -> rpc_pb2.RequestOp:
    match step:
        case Get(key):
            return rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))
        case Put(key, value):
            return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))
        case Delete(key):
            return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))


def answer_of(response: rpc_pb2.TxnResponse) -> Answered:
    """What the store answered."""
    return Answered(tuple(map(_answer, response.responses)), response.header.revision, response.succeeded)


def _answer(response: rpc_pb2.ResponseOp) -> Answer:
    if response.HasField("response_range"):
        return _seen(response.response_range)
    return bool(response.response_delete_range.deleted) if response.HasField("response_delete_range") else None


def _seen(response: rpc_pb2.RangeResponse) -> Seen | None:
    return Seen(response.kvs[0].value, response.kvs[0].mod_revision) if response.kvs else None


class Workload:
    """Some clients at once; `addresses` may change while they run."""

    def __init__(self, addresses: Addresses, rng: random.Random, clients: int = 4) -> None:
        self.history: list[Operation] = []
        self.refusals: Counter[str] = Counter()
        self._addresses = addresses
        self._clients = [random.Random(rng.random()) for _ in range(clients)]

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        async with asyncio.TaskGroup() as tasks:
            for number, rng in enumerate(self._clients):
                tasks.create_task(self._client(f"client {number}", rng, stop))

    async def _client(self, name: str, rng: random.Random, stop: asyncio.Event) -> None:
        number = 0
        known: dict[bytes, Seen] = {}
        while not stop.is_set():
            # A connection for some operations, or as long as it works.
            async with channel(rng.choice(self._addresses()), None) as connection:
                for _ in range(100):
                    number += 1
                    action = _choose(rng, b"%s.%d" % (name[7:].encode(), number), known)
                    answered = await self.act(name, rpc_pb2_grpc.KVStub(connection), action)
                    if answered is not None:
                        _learn(known, action, answered)
                    await asyncio.sleep(PAUSE_S * rng.uniform(0.5, 1.5))
                    if stop.is_set() or answered is None:
                        break

    async def act(self, name: str, kv: "rpc_pb2_grpc.KVAsyncStub", action: Action) -> Answered | None:
        """Do something and note what came of it."""
        invoked = time.monotonic()
        try:
            if isinstance(action, Get):
                found = await kv.Range(rpc_pb2.RangeRequest(key=action.key), timeout=CALL_TIMEOUT_S)
                answered = Answered((_seen(found),), found.header.revision)
            else:
                answered = answer_of(await kv.Txn(request_of(action), timeout=CALL_TIMEOUT_S))
        except grpc.aio.AioRpcError as failure:
            details = failure.details() or ""
            self.refusals[f"{failure.code().name}: {details[:60]}"] += 1
            if not any(refusal in details for refusal in _REFUSALS):
                self.history.append(Operation(name, action, invoked))
            return None
        self.history.append(Operation(name, action, invoked, time.monotonic(), answered))
        return answered

    async def read_all(self) -> None:
        """Every key, through every member: what is acknowledged must be there."""
        for address in self._addresses():
            async with channel(address, None) as connection:
                for key in KEYS:
                    kv = rpc_pb2_grpc.KVStub(connection)
                    while await self.act(f"reader of {address}", kv, Get(key)) is None:  # noqa: ASYNC110
                        await asyncio.sleep(PAUSE_S)


def _learn(known: dict[bytes, Seen], action: Action, answered: Answered) -> None:
    operation = Operation("", action, 0.0, 0.0, answered)
    for step, answer in zip(operation.steps, answered.answers, strict=True):
        if isinstance(answer, Seen):
            known[step.key] = answer
        elif isinstance(step, Put):
            known[step.key] = Seen(step.value, answered.revision)
        else:
            known.pop(step.key, None)


def _choose(rng: random.Random, value: bytes, known: dict[bytes, Seen]) -> Action:
    # Keys are tied together by Txns in pairs only, so that the judgement stays short.
    pair = rng.randrange(len(KEYS) // 2) * 2
    key, other = rng.sample(KEYS[pair : pair + 2], 2)
    seen = known.get(key)
    kind = rng.random()
    if kind < 0.35:
        return Get(key)
    if kind < 0.6:
        return Put(key, value)
    if kind < 0.65:
        return Delete(key)
    if kind < 0.75 and seen is not None:
        return compare_and_swap(ValueIs(key, seen.value), value)
    compare = ModRevisionIs(key, seen.mod_revision or 0 if seen else 0)
    if kind < 0.85:
        return compare_and_swap(compare, value)
    return Txn((compare,), (Put(key, value), Put(other, value)), (Get(key), Get(other)))


class Watcher:
    """A client that watches all, and comes back every few seconds to any member, from after what it has seen."""

    def __init__(self, addresses: Addresses, rng: random.Random) -> None:
        self.events: list[tuple[int, bytes, bytes]] = []
        self.faults: list[str] = []
        self.connections = 0
        self._addresses = addresses
        self._rng = rng
        self._next = 1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
                async with asyncio.timeout(self._rng.uniform(1.0, 6.0)):
                    await self.follow(self._rng.choice(self._addresses()))
            await asyncio.sleep(PAUSE_S)

    async def follow(self, address: str, until: int | None = None) -> None:
        """One connection; until a revision is reached."""
        self.connections += 1
        async with channel(address, None) as connection:
            stream = rpc_pb2_grpc.WatchStub(connection).Watch()
            create = rpc_pb2.WatchCreateRequest(key=PREFIX, range_end=PREFIX_END, start_revision=self._next)
            await stream.write(rpc_pb2.WatchRequest(create_request=create))
            while until is None or self._next <= until:
                response = await stream.read()
                if not isinstance(response, rpc_pb2.WatchResponse):
                    return
                if response.canceled:
                    self.faults.append(f"{address} cancelled the watch: {response.cancel_reason}")
                    return
                self._take(address, response)

    def _take(self, address: str, response: rpc_pb2.WatchResponse) -> None:
        first = self._next
        for event in response.events:
            pair = event.kv
            if pair.mod_revision < first:
                self.faults.append(f"{address} sent revision {pair.mod_revision} after {first - 1}")
            first = max(first, pair.mod_revision)
            self.events.append((pair.mod_revision, pair.key, pair.value))
            self._next = pair.mod_revision + 1
