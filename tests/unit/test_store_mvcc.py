"""The MVCC core against a model that keeps a full copy of the keys for every revision."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from navarch.protos.etcd import rpc_pb2
from navarch.protos.etcd.kv_pb2 import KeyValue
from navarch.services.store import commands, errors
from navarch.services.store.backend import MemoryBackend
from navarch.services.store.errors import EtcdError, Refusal
from navarch.services.store.mvcc import checks, ranges
from navarch.services.store.mvcc import txn as evaluation
from navarch.services.store.mvcc.key_index import in_range
from navarch.services.store.mvcc.revision import TOMBSTONE, last_of, main_of
from navarch.services.store.replication.log import Entry
from navarch.services.store.state_machine import StateMachine

KEYS = [b"a", b"a\0", b"b", b"ba", b"c"]
keys = st.sampled_from(KEYS)
ends = st.sampled_from([b"", b"\0", b"b", b"c", b"a"])
values = st.sampled_from([b"", b"1", b"2"])


class Machine:
    """A state machine with a log's worth of convenience."""

    def __init__(self, backend: MemoryBackend | None = None) -> None:
        self.backend = backend or MemoryBackend()
        self.now = 0.0
        self.changes = []
        self.machine = StateMachine(self.backend, lambda: self.now, self.changes.extend)

    @property
    def mvcc(self):
        return self.machine.mvcc

    def do(self, request):
        (outcome,) = self.machine.apply([Entry(self.machine.applied_index + 1, 1, commands.encode(request))])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def put(self, key: bytes, value: bytes = b"", lease: int = 0, **options) -> rpc_pb2.PutResponse:
        return self.do(rpc_pb2.PutRequest(key=key, value=value, lease=lease, **options))

    def delete(self, key: bytes, end: bytes = b"", **options) -> rpc_pb2.DeleteRangeResponse:
        return self.do(rpc_pb2.DeleteRangeRequest(key=key, range_end=end, **options))

    def range(self, key: bytes, end: bytes = b"", **options) -> rpc_pb2.RangeResponse:
        request = rpc_pb2.RangeRequest(key=key, range_end=end, **options)
        return ranges.evaluate(self.mvcc, request, self.mvcc.revision)


def refused(refusal: Refusal):
    return pytest.raises(EtcdError, match="^" + refusal.message + "$")


class MvccAgainstModel(RuleBasedStateMachine):
    """`self.history[revision]` is the whole state at that revision."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.sut = Machine()
        self.history: dict[int, dict[bytes, KeyValue]] = {1: {}}
        self.revision = 1
        self.compacted = -1
        self.granted: set[int] = set()

    def advance(self) -> dict[bytes, KeyValue]:
        self.revision += 1
        self.history[self.revision] = copy.deepcopy(self.history[self.revision - 1])
        return self.history[self.revision]

    def model_put(self, state: dict[bytes, KeyValue], key: bytes, value: bytes, lease: int) -> None:
        old = state.get(key)
        state[key] = KeyValue(
            key=key,
            value=value,
            lease=lease,
            version=old.version + 1 if old else 1,
            create_revision=old.create_revision if old else self.revision,
            mod_revision=self.revision,
        )

    @rule(target=leases)
    def grant(self) -> int:
        lease = max(self.granted, default=0) + 1
        self.granted.add(lease)
        assert self.sut.do(rpc_pb2.LeaseGrantRequest(ID=lease, TTL=10)).TTL == 10
        return lease

    @rule(lease=leases)
    def revoke(self, lease: int) -> None:
        if lease not in self.granted:
            with refused(errors.LEASE_NOT_FOUND):
                self.sut.do(rpc_pb2.LeaseRevokeRequest(ID=lease))
            return
        self.granted.discard(lease)
        self.sut.do(rpc_pb2.LeaseRevokeRequest(ID=lease))
        held = [key for key, kv in self.history[self.revision].items() if kv.lease == lease]
        if held:
            state = self.advance()
            for key in held:
                del state[key]

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.sut.put(key, value)
        self.model_put(self.advance(), key, value, 0)

    @rule(key=keys, lease=leases)
    def put_with_lease(self, key: bytes, lease: int) -> None:
        if lease not in self.granted:
            with refused(errors.LEASE_NOT_FOUND):
                self.sut.put(key, b"l", lease)
            return
        self.sut.put(key, b"l", lease)
        self.model_put(self.advance(), key, b"l", lease)

    @rule(key=keys, end=ends)
    def delete(self, key: bytes, end: bytes) -> None:
        now = self.history[self.revision]
        doomed = [kv for name, kv in sorted(now.items()) if in_range(name, key, end)]
        response = self.sut.delete(key, end, prev_kv=True)
        assert list(response.prev_kvs) == doomed
        assert response.deleted == len(doomed)
        if doomed:
            state = self.advance()
            for kv in doomed:
                del state[kv.key]

    @rule(guard=keys, guarded_version=st.integers(0, 2), ops=st.dictionaries(keys, values, max_size=3))
    def transact(self, guard: bytes, guarded_version: int, ops: dict[bytes, bytes]) -> None:
        request = rpc_pb2.TxnRequest()
        request.compare.add(key=guard, target=rpc_pb2.Compare.VERSION, version=guarded_version)
        for key, value in ops.items():
            request.success.add(request_put=rpc_pb2.PutRequest(key=key, value=value))
        request.failure.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=guard))
        request.failure.add(request_range=rpc_pb2.RangeRequest(key=b"a", range_end=b"\0"))
        old = self.history[self.revision].get(guard)
        expected = (old.version if old else 0) == guarded_version
        response = self.sut.do(request)
        assert response.succeeded == expected
        if expected and ops:
            state = self.advance()
            for key, value in ops.items():
                self.model_put(state, key, value, 0)
        elif not expected:
            if old:
                del self.advance()[guard]
            assert [kv.key for kv in response.responses[1].response_range.kvs] == sorted(self.history[self.revision])
        assert response.header.revision == self.revision

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        target = self.revision - back
        if target <= self.compacted:
            with refused(errors.COMPACTED):
                self.sut.do(rpc_pb2.CompactionRequest(revision=target))
            return
        self.sut.do(rpc_pb2.CompactionRequest(revision=target))
        self.compacted = target

    @rule(limit=st.integers(1, 3))
    def collect(self, limit: int) -> None:
        self.sut.mvcc.collect(limit)

    @rule(limit=st.integers(1, 3))
    def collect_all(self, limit: int) -> None:
        while self.sut.mvcc.collectable:
            self.sut.mvcc.collect(limit)
        for _, history in self.sut.mvcc.index.ordered():
            old = [packed for packed in history.revisions if main_of(packed) <= self.compacted]
            assert len(old) <= 1, "an older version is kept"
            assert all(main_of(packed) == self.compacted for packed in old if packed & TOMBSTONE)
        kept = {packed for _, history in self.sut.mvcc.index.ordered() for packed in history.revisions}
        assert {packed for packed, _ in self.sut.backend.scan(0, last_of(self.revision))} == kept

    @rule()
    def restart(self) -> None:
        self.sut = Machine(self.sut.backend)

    @rule(key=keys, end=ends, back=st.integers(0, 6), limit=st.integers(0, 3))
    def read_the_past(self, key: bytes, end: bytes, back: int, limit: int) -> None:
        revision = self.revision - back
        if revision <= 0:
            return
        if revision < self.compacted:
            with refused(errors.COMPACTED):
                self.sut.range(key, end, revision=revision)
            return
        expected = [kv for name, kv in sorted(self.history[revision].items()) if in_range(name, key, end)]
        response = self.sut.range(key, end, revision=revision, limit=limit)
        assert list(response.kvs) == (expected[:limit] if limit else expected)
        assert response.count == len(expected)
        assert response.more == bool(limit and len(expected) > limit)
        assert self.sut.range(key, end, revision=revision, count_only=True).count == len(expected)

    @invariant()
    def now_agrees(self) -> None:
        response = self.sut.range(b"\0", b"\0")
        assert response.header.revision == self.revision
        assert {kv.key: kv for kv in response.kvs} == self.history[self.revision]
        assert response.count == len(self.history[self.revision])

    @invariant()
    def history_repeats_the_changes(self) -> None:
        """What a watcher reads from the compacted revision on leads from state to state."""
        first = max(self.compacted, 1)
        state = dict(self.history[first])
        for change in self.sut.mvcc.changes(first + 1, self.revision):
            if change.deleted:
                del state[change.kv.key]
            else:
                state[change.kv.key] = change.kv
        assert state == self.history[self.revision]


MvccAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMvccAgainstModel = MvccAgainstModel.TestCase


def filled() -> Machine:
    sut = Machine()
    for key, value in ((b"a", b"3"), (b"b", b"1"), (b"c", b"2"), (b"a", b"0")):
        sut.put(key, value)
    return sut


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, [b"a", b"b", b"c"], id="by key"),
        pytest.param({"sort_order": "DESCEND"}, [b"c", b"b", b"a"], id="descending"),
        pytest.param({"sort_target": "VALUE"}, [b"a", b"b", b"c"], id="a target without order ascends"),
        pytest.param({"sort_target": "VALUE", "sort_order": "DESCEND"}, [b"c", b"b", b"a"], id="by value"),
        pytest.param({"sort_target": "MOD", "sort_order": "ASCEND"}, [b"b", b"c", b"a"], id="by mod revision"),
        pytest.param({"sort_target": "VERSION", "sort_order": "DESCEND", "limit": 1}, [b"a"], id="sort, then limit"),
        pytest.param({"min_mod_revision": 4}, [b"a", b"c"], id="min mod revision"),
        pytest.param({"max_mod_revision": 3}, [b"b"], id="max mod revision"),
        pytest.param({"min_create_revision": 3}, [b"b", b"c"], id="min create revision"),
        pytest.param({"max_create_revision": 2}, [b"a"], id="max create revision"),
        pytest.param({"limit": 2}, [b"a", b"b"], id="limit"),
    ],
)
def test_range_options(options, expected) -> None:
    response = filled().range(b"a", b"\0", **options)
    assert [kv.key for kv in response.kvs] == expected
    assert response.count == 3
    assert response.more == ("limit" in options)


def test_keys_only_leaves_values_out_and_count_only_everything() -> None:
    sut = filled()
    assert [(kv.key, kv.value, kv.version) for kv in sut.range(b"a", keys_only=True).kvs] == [(b"a", b"", 2)]
    counted = sut.range(b"a", b"\0", count_only=True)
    assert (counted.count, list(counted.kvs)) == (3, [])


@pytest.mark.parametrize("revision", [6, 2**63 - 1])
def test_the_future_cannot_be_read_or_compacted(revision: int) -> None:
    sut = filled()
    with refused(errors.FUTURE_REVISION):
        sut.range(b"a", revision=revision)
    with refused(errors.FUTURE_REVISION):
        sut.do(rpc_pb2.CompactionRequest(revision=revision))


def test_put_options() -> None:
    sut = Machine()
    with refused(errors.KEY_NOT_FOUND):
        sut.put(b"a", ignore_value=True)
    sut.do(rpc_pb2.LeaseGrantRequest(ID=7, TTL=10))
    sut.put(b"a", b"1", 7)
    assert sut.put(b"a", ignore_value=True, prev_kv=True).prev_kv.lease == 7
    assert sut.mvcc.get(b"a").value == b"1"
    assert sut.mvcc.get(b"a").lease == 0
    sut.put(b"a", b"2", 7)
    sut.put(b"a", b"3", ignore_lease=True)
    assert sut.mvcc.get(b"a").lease == 7


def compare(**fields) -> rpc_pb2.Compare:
    return rpc_pb2.Compare(**fields)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        pytest.param(compare(key=b"a", target="VALUE", value=b"0"), True, id="value equal"),
        pytest.param(compare(key=b"x", target="VALUE", value=b""), False, id="absent has no value"),
        pytest.param(compare(key=b"x", target="VALUE", result="NOT_EQUAL", value=b"1"), False, id="absent: value"),
        pytest.param(compare(key=b"x", target="VERSION", version=0), True, id="absent: version 0"),
        pytest.param(compare(key=b"x", target="CREATE", result="GREATER", create_revision=0), False, id="absent: new"),
        pytest.param(compare(key=b"a", target="MOD", result="GREATER", mod_revision=4), True, id="mod greater"),
        pytest.param(compare(key=b"a", target="MOD", result="LESS", mod_revision=5), False, id="mod not less"),
        pytest.param(compare(key=b"a", target="LEASE", lease=0), True, id="lease"),
        pytest.param(compare(key=b"a", range_end=b"\0", target="VERSION", result="GREATER"), True, id="all of a range"),
        pytest.param(compare(key=b"a", range_end=b"\0", target="VERSION", version=1), False, id="not all of a range"),
        pytest.param(compare(key=b"x", range_end=b"\0", target="VERSION", version=0), True, id="an empty range"),
    ],
)
def test_compares(condition: rpc_pb2.Compare, holds: bool) -> None:
    assert filled().do(rpc_pb2.TxnRequest(compare=[condition])).succeeded == holds


def op_put(key: bytes, value: bytes = b"") -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))


def op_delete(key: bytes, end: bytes = b"") -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key, range_end=end))


def op_txn(success=(), failure=()) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(success=success, failure=failure))


@pytest.mark.parametrize(
    ("ops", "refusal"),
    [
        pytest.param([op_put(b"a"), op_put(b"a")], errors.DUPLICATE_KEY, id="two puts"),
        pytest.param([op_put(b"b"), op_delete(b"a", b"c")], errors.DUPLICATE_KEY, id="put into a deleted range"),
        pytest.param([op_delete(b"a", b"c"), op_put(b"c")], None, id="put beside a deleted range"),
        pytest.param([op_delete(b"a", b"c"), op_delete(b"b")], None, id="overlapping deletions"),
        pytest.param([op_txn([op_put(b"a")], [op_put(b"a")])], None, id="both branches of one"),
        pytest.param([op_txn([op_put(b"a")]), op_put(b"a")], errors.DUPLICATE_KEY, id="nested and outer"),
        pytest.param([op_txn([op_put(b"a")]), op_txn([op_put(b"a")])], errors.DUPLICATE_KEY, id="two nested"),
        pytest.param([op_txn([op_delete(b"a", b"\0")]), op_put(b"b")], errors.DUPLICATE_KEY, id="nested deletion"),
        pytest.param([op_put(b"")], errors.EMPTY_KEY, id="empty key"),
        pytest.param([op_put(b"%d" % i) for i in range(129)], errors.TOO_MANY_OPS, id="too many"),
        pytest.param([op_txn([op_put(b"%d" % i) for i in range(128)])], errors.TOO_MANY_OPS, id="too many, nested"),
        pytest.param([rpc_pb2.RequestOp()], errors.KEY_NOT_FOUND, id="no operation"),
    ],
)
def test_transactions_are_checked_before_they_are_logged(ops, refusal) -> None:
    request = rpc_pb2.TxnRequest(success=ops)
    if refusal is None:
        checks.check_txn(request, 128)
        Machine().do(request)
    else:
        with refused(refusal):
            checks.check_txn(request, 128)


@pytest.mark.parametrize(
    ("check", "request_", "refusal"),
    [
        (checks.check_range, rpc_pb2.RangeRequest(), errors.EMPTY_KEY),
        (checks.check_range, rpc_pb2.RangeRequest(key=b"a", sort_order=7), errors.INVALID_SORT_OPTION),
        (checks.check_put, rpc_pb2.PutRequest(), errors.EMPTY_KEY),
        (checks.check_put, rpc_pb2.PutRequest(key=b"a", value=b"1", ignore_value=True), errors.VALUE_PROVIDED),
        (checks.check_put, rpc_pb2.PutRequest(key=b"a", lease=1, ignore_lease=True), errors.LEASE_PROVIDED),
        (checks.check_delete, rpc_pb2.DeleteRangeRequest(), errors.EMPTY_KEY),
    ],
)
def test_requests_are_checked(check, request_, refusal) -> None:
    with refused(refusal):
        check(request_)


def test_a_refused_transaction_changes_nothing() -> None:
    sut = filled()
    before = sut.mvcc.revision
    request = rpc_pb2.TxnRequest(success=[op_put(b"new"), op_put(b"other")])
    request.success[1].request_put.lease = 99
    with refused(errors.LEASE_NOT_FOUND):
        sut.do(request)
    request = rpc_pb2.TxnRequest(success=[op_put(b"new")])
    request.success.add(request_range=rpc_pb2.RangeRequest(key=b"a", revision=99))
    with refused(errors.FUTURE_REVISION):
        sut.do(request)
    assert sut.mvcc.revision == before
    assert sut.mvcc.get(b"new") is None


def test_a_transaction_reads_what_it_wrote_and_decides_on_what_was_before() -> None:
    sut = filled()
    nested = rpc_pb2.TxnRequest(compare=[compare(key=b"n", target="VERSION", version=0)], success=[op_put(b"m")])
    read = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"n"))
    response = sut.do(rpc_pb2.TxnRequest(success=[op_put(b"n", b"1"), read, rpc_pb2.RequestOp(request_txn=nested)]))
    assert response.responses[1].response_range.kvs[0].value == b"1"
    assert response.responses[2].response_txn.succeeded
    assert sut.mvcc.get(b"m").mod_revision == sut.mvcc.get(b"n").mod_revision == response.header.revision


def test_a_read_only_transaction_writes_nothing() -> None:
    request = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"a"))])
    assert evaluation.is_read_only(request)
    assert not evaluation.is_serializable(request)
    sut = filled()
    assert sut.do(request).header.revision == sut.mvcc.revision == 5
    request.failure.append(op_txn([op_put(b"x")]))
    assert not evaluation.is_read_only(request)


@given(st.integers(1, 10))
def test_the_hash_does_not_depend_on_how_far_collection_has_come(collected: int) -> None:
    sut, other = filled(), filled()
    for each in (sut, other):
        each.delete(b"b")
        each.put(b"c", b"9")
        each.do(rpc_pb2.CompactionRequest(revision=6))
    sut.mvcc.collect(collected)
    assert sut.mvcc.hash_at(7) == other.mvcc.hash_at(7)
    sut.put(b"c", b"10")
    assert sut.mvcc.hash_at(7) == other.mvcc.hash_at(7)
    assert sut.mvcc.hash_at(8) != other.mvcc.hash_at(7)


def test_alarms_refuse_growth_until_they_are_lifted() -> None:
    sut = filled()
    alarm = rpc_pb2.AlarmRequest(action="ACTIVATE", memberID=5, alarm="NOSPACE")
    sut.do(alarm)
    sut = Machine(sut.backend)
    with refused(errors.NO_SPACE):
        sut.put(b"x")
    with refused(errors.NO_SPACE):
        sut.do(rpc_pb2.TxnRequest(failure=[op_put(b"x")]))
    with refused(errors.NO_SPACE):
        sut.do(rpc_pb2.LeaseGrantRequest(ID=1, TTL=5))
    sut.delete(b"a")
    sut.do(rpc_pb2.CompactionRequest(revision=sut.mvcc.revision))
    alarm.action = rpc_pb2.AlarmRequest.DEACTIVATE
    assert len(sut.do(alarm).alarms) == 1
    sut.put(b"x")


def test_a_compaction_at_a_deletion_is_collected_whole_however_small_the_steps() -> None:
    sut = filled()
    sut.delete(b"a", b"d")
    sut.do(rpc_pb2.CompactionRequest(revision=sut.mvcc.revision))
    while sut.mvcc.collectable:
        sut.mvcc.collect(1)
    assert [packed & TOMBSTONE for packed, _ in sut.backend.scan(0, last_of(99))] == [TOMBSTONE] * 3
    sut.put(b"z")
    sut.do(rpc_pb2.CompactionRequest(revision=sut.mvcc.revision))
    while sut.mvcc.collectable:
        sut.mvcc.collect(1)
    assert [main_of(packed) for packed, _ in sut.backend.scan(0, last_of(99))] == [sut.mvcc.revision]
